import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.processes.plan import plans
from engine.warm.client import WarmUnavailable, fork
from resources.settings import CHECKOUT, Settings


@pytest.fixture
def server(settings):
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.warm.server", str(settings.warm_socket), "json"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "ready" in process.stdout.readline()
    yield process
    process.terminate()
    process.wait(10)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(settings, tmp_path: Path, code: str, **env: str):
    (tmp_path / "asked.py").write_text(code)
    with (tmp_path / "out").open("wb") as log:
        argv = ["asked", "--colour"]
        return fork(settings.warm_socket, "asked", argv, {**os.environ, **env}, log.fileno())


def wait(child) -> int:
    end = time.monotonic() + 20
    while (code := child.poll()) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return code


def test_a_child_runs_with_its_own_arguments_environment_and_output(server, settings, tmp_path):
    code = "import os, sys; print(sys.argv[1:], os.environ['COLOUR'])"
    assert wait(run(settings, tmp_path, code, COLOUR="blue")) == 0
    assert (tmp_path / "out").read_text() == "['--colour'] blue\n"


def test_the_exit_code_of_a_child_comes_back(server, settings, tmp_path):
    assert wait(run(settings, tmp_path, "import sys; sys.exit(75)")) == 75


def test_an_exception_in_a_child_is_its_own(server, settings, tmp_path):
    assert wait(run(settings, tmp_path, "raise KeyError('lost')")) == 1
    assert "KeyError: 'lost'" in (tmp_path / "out").read_text()


def test_a_killed_child_is_reported_as_killed(server, settings, tmp_path):
    child = run(settings, tmp_path, "import time; time.sleep(60)")
    os.killpg(child.pid, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL


def test_the_server_serves_on_after_a_bad_request(server, settings, tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(settings.warm_socket))
        rude.sendall(b"\xff\xff\xff\xff nonsense")
    assert wait(run(settings, tmp_path, "pass")) == 0


def test_children_do_not_share_a_random_state(server, settings, tmp_path):
    code = "import random; print(random.random())"
    wait(run(settings, tmp_path, code))
    first = (tmp_path / "out").read_text()
    wait(run(settings, tmp_path, code))
    assert (tmp_path / "out").read_text() != first


def test_a_missing_server_is_said_to_be_missing(settings, tmp_path):
    with pytest.raises(WarmUnavailable):
        run(settings, tmp_path, "pass")


def test_an_instance_that_shares_a_warm_server_starts_none(settings, monkeypatch, tmp_path):
    assert "warm server" in [plan.name for plan in plans(Settings())]

    monkeypatch.setenv("ORRERY_WARM_SERVER", str(tmp_path / "shared.sock"))

    assert "warm server" not in [plan.name for plan in plans(Settings())]
    assert Settings().warm_socket == tmp_path / "shared.sock"
