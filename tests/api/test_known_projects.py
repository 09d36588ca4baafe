"""A request looks at the files of the projects once, and sees what was written before it."""

import pytest

from api.known_projects import KnownProjects, one_look
from resources.api_projects import ApiProjects
from resources.declarations import Declarations
from resources.settings import Settings

BIRDS = "project: {name}\nowner: team:birds\ndatasets: {{songs: {{source: 'files:songs.csv'}}}}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "projects"
    folder.mkdir()
    monkeypatch.setenv("ORRERY_PROJECTS", str(folder))
    monkeypatch.setenv("ORRERY_STATE", str(tmp_path / "state"))
    return folder


@pytest.fixture
def known(folder):
    settings = Settings()
    return KnownProjects(settings, ApiProjects(settings))


@pytest.fixture
def looks(monkeypatch):
    counted, look = [], Declarations.fingerprint
    monkeypatch.setattr(
        Declarations, "fingerprint", lambda self: counted.append(None) or look(self)
    )
    return counted


def write(folder, name):
    (folder / f"{name}.yaml").write_text(BIRDS.format(name=name))


def test_a_request_looks_once_and_the_next_one_again(known, folder, looks):
    for name in ("owls", "gulls"):
        write(folder, name)
        with one_look():
            assert all(name in known.all() for _ in range(3))
            assert known.broken() == []

    assert len(looks) == 2


def test_what_a_request_changed_is_seen_by_itself(known, folder):
    with one_look():
        assert known.all() == {}
        write(folder, "owls")
        known.look_again()
        assert list(known.all()) == ["owls"]


def test_without_a_request_every_question_looks(known, folder, looks):
    known.all()
    write(folder, "owls")

    assert list(known.all()) == ["owls"]
    assert len(looks) == 2
