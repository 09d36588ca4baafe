"""The revision of a project's own code, with what is not committed."""

import subprocess

import pytest

from resources.revision import project_revision


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "checkout" / "lab"
    folder.mkdir(parents=True)
    (folder / "trainer.py").write_text("RATE = 1\n")
    (folder.parent / "elsewhere.py").write_text("OTHER = 1\n")
    git(folder.parent, "init", "-q")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "-qm", "begun")
    return folder


def git(folder, *arguments):
    author = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True)


def test_committed_code_has_its_commit_and_no_diff(project):
    result = project_revision(project)
    assert len(result.name) == 12 and result.diff == ""


def test_what_is_not_committed_is_part_of_the_revision(project):
    (project / "trainer.py").write_text("RATE = 2\n")
    (project / "new.py").write_text("FRESH = True\n")
    (project / "data.csv").write_text("a,b\n")
    result = project_revision(project)
    assert result.name.endswith("-dirty")
    assert "+RATE = 2" in result.diff and "FRESH = True" in result.diff
    assert "a,b" not in result.diff


def test_changes_beside_the_project_are_not_its_own(project):
    (project.parent / "elsewhere.py").write_text("OTHER = 2\n")
    assert not project_revision(project).name.endswith("-dirty")


def test_a_folder_without_git_says_so(tmp_path):
    assert project_revision(tmp_path) == ("unknown", "")
