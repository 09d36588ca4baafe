"""A client finds the platform and the key, and gives a key to nobody whom it is not for."""

import json

import pytest

import orrery
from orrery.discovery import discovered

KEPT = ("https://far.example.org", "kept")


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A folder without any installation, and a home without a sign-in."""
    for name in ("ORRERY_URL", "ORRERY_API_KEY", "ORRERY_KEY", "ORRERY_STATE", "ORRERY_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")


@pytest.fixture
def signed_in(tmp_path):
    file = tmp_path / "home" / ".config" / "orrery" / "credentials.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"url": KEPT[0], "key": KEPT[1]}))
    return file


@pytest.fixture
def installed(tmp_path):
    state = tmp_path / "work" / ".orrery"
    (state / "up").mkdir(parents=True)
    (state / "admin.key").write_text("local\n")
    return state


def test_arguments_go_before_everything(monkeypatch, signed_in):
    monkeypatch.setenv("ORRERY_API_KEY", "from the variable")
    assert discovered("http://a:1/", "given") == ("http://a:1", "given")


def test_variables_go_before_what_was_kept(monkeypatch, signed_in):
    monkeypatch.setenv("ORRERY_URL", "http://b:2")
    monkeypatch.setenv("ORRERY_API_KEY", "variable")
    assert discovered() == ("http://b:2", "variable")
    monkeypatch.delenv("ORRERY_API_KEY")
    monkeypatch.setenv("ORRERY_KEY", "of the command line")
    assert discovered() == ("http://b:2", "of the command line")


def test_what_sign_in_kept_is_used(signed_in):
    assert discovered() == KEPT
    assert discovered(f"{KEPT[0]}/") == KEPT


def test_the_key_of_an_installation_above_is_used_with_its_address(installed):
    assert discovered() == ("http://127.0.0.1:3000", "local")
    addresses = {"host": "127.0.0.1", "port": 4321, "public_url": ""}
    (installed / "up" / "addresses.json").write_text(json.dumps(addresses))
    assert discovered() == ("http://127.0.0.1:4321", "local")
    assert discovered("http://localhost:4321") == ("http://localhost:4321", "local")


@pytest.mark.parametrize("url", ["https://evil.example.org", "http://far.example.org"])
def test_a_kept_key_goes_to_no_other_address(signed_in, installed, url):
    with pytest.raises(orrery.NoKey, match="no key to sign in with for"):
        discovered(url)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 7, "key": "x"}', '{"url": "x"}'])
def test_a_sign_in_that_cannot_be_read_is_none(signed_in, text):
    signed_in.write_text(text)
    with pytest.raises(orrery.NoKey):
        discovered()


def test_without_any_key_it_says_what_to_do():
    with pytest.raises(orrery.NoKey, match="ORRERY_API_KEY"):
        orrery.connect()
