"""Which project files a process reads, and what stands in for broken ones."""

import pytest

from resources.declarations import Declarations
from resources.settings import Settings

BIRDS = """project: {name}
owner: birder@example.org
datasets:
  songs: {{source: "files:songs.csv", label: species}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "projects"
    folder.mkdir()
    for name in ("owls", "night-jars", "gulls"):
        (folder / f"{name}-file.yaml").write_text(BIRDS.format(name=name))
    monkeypatch.setenv("ORRERY_PROJECTS", str(folder))
    monkeypatch.setenv("ORRERY_STATE", str(tmp_path / "state"))
    return folder


def loaded(**settings):
    usable = Declarations(Settings(**settings)).load()
    return [project.name for project in usable.projects]


def test_every_project_is_loaded(folder):
    assert loaded() == ["gulls", "night-jars", "owls"]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("owls", ["owls"]),
        ("night-jars", ["night-jars"]),
        ("night_jars,gulls", ["gulls", "night-jars"]),
    ],
)
def test_only_the_projects_that_a_process_needs_are_loaded(only, expected, folder):
    (folder / "broken.yaml").write_text("project: [\n")

    assert loaded(only_projects=only) == expected


def test_all_are_loaded_where_a_needed_one_is_not_found(folder):
    assert loaded(only_projects="eagles") == ["gulls", "night-jars", "owls"]


def test_a_project_whose_file_lost_its_name_is_found_by_its_last_good_declaration(folder):
    loaded()
    (folder / "owls-file.yaml").write_text("proj\n")

    assert "owls" in loaded(only_projects="owls")
