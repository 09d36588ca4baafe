"""One `orrery up` for all tests that can share it, in whatever process of the run they are.

`python -m tests.api.shared_up PID FOLDER` keeps it: it ends with its last user, with its keeper,
and with the process of the tests, however that ended.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from engine import lease
from resources.settings import CHECKOUT
from tests.api.up import PORTS, Up
from tests.waiting import until

FLOWERS = CHECKOUT / "tests" / "data" / "flowers"
ENVIRONMENT = {"ORRERY_CALLBACK_PRIVATE": "127.0.0.0/8", "ORRERY_PRICE_PROCESS_H": "1"}
POLL_S = 0.5


@contextmanager
def shared_up(folder: Path, tests: int) -> Iterator[Up]:
    """The instance over the folder, started unless another process uses it already."""
    folder.mkdir(exist_ok=True)
    with (folder / "users").open("w") as users:
        with lease.alone(folder / "start.lock"):
            # Waits while a last user ends the instance.
            fcntl.flock(users, fcntl.LOCK_SH)
            up = _running(folder) or _started(folder, tests)
        yield up
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        os.kill(_noted(folder)["keeper"], signal.SIGTERM)
        until(lambda: not _is_up(folder))


def _is_up(folder: Path) -> bool:
    return lease.holder(folder / "state" / "up") is not None


def _noted(folder: Path) -> dict:
    return json.loads((folder / "noted.json").read_text())


def _running(folder: Path) -> Up | None:
    return Up(folder, ENVIRONMENT | _noted(folder)["ports"]) if _is_up(folder) else None


def _started(folder: Path, tests: int) -> Up:
    for name in ("state", "projects"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "up.log").unlink(missing_ok=True)
    declare(folder / "projects")
    up = Up(folder, ENVIRONMENT)
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.api.shared_up", str(tests), str(folder)],
        cwd=CHECKOUT,
        env=up.env,
        # Ctrl-C at the tests must not end the keeper before what it keeps.
        start_new_session=True,
    )
    noted = {"keeper": keeper.pid, "ports": {name: up.env[name] for name in PORTS}}
    (folder / "noted.json").write_text(json.dumps(noted))
    up.process = keeper
    up.wait_ready()
    return up


def declare(folder: Path) -> None:
    """Write the test project and, for each file of tests, projects of its own; commit them."""
    shutil.copytree(FLOWERS, folder)
    flowers = (folder / "flowers.yaml").read_text()
    rollout = "rollout: {canary: [50, 100], step_s: 0.2}"
    others = {
        "recorded": ("flowers_training:train", "flowers_training:record"),
        "lasting": (rollout, "rollout: {canary: [10, 100], step_s: 3600}"),
        "meadow": ("", ""),
        "notebook": ("", ""),
        "reached": ("", ""),
        "wilted": ("", ""),
    }
    for name, (old, new) in others.items():
        text = flowers.replace("project: flowers", f"project: {name}")
        (folder / f"{name}.yaml").write_text(text.replace(old, new))
    text = flowers.replace("project: flowers", "project: brought")
    text = text.replace("    trainer: flowers_training:train\n", "    from: given.onnx\n")
    (folder / "brought.yaml").write_text(text.replace("    hyperparameters: {epochs: 5}\n", ""))
    (folder / "odd.yaml").write_text(
        "project: odd\nowner: team:a\ndescription: Odd rows.\n"
        "datasets: {rows: {source: 'files:odd.csv', label: kind}}\n"
    )
    rows = [f"{n}.5,{'ab'[n % 2]}" for n in range(40)]
    (folder / "odd.csv").write_text("\n".join(["size,kind", *rows, "n/a?,a"]) + "\n")
    (folder / "broken.yaml").write_text("project: broken\nowner: 7\n")
    author = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "declared"]):
        subprocess.run(["git", *author, *command], cwd=folder, check=True)


def keep(tests: int, folder: Path) -> None:
    """Run `orrery up` until it ends, the process of the tests ends, or SIGTERM comes."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    up = Up(folder, {name: os.environ[name] for name in PORTS})
    up.start()
    assert up.process is not None
    while psutil.pid_exists(tests) and up.process.poll() is None and not asked.wait(POLL_S):
        pass
    up.stop()


if __name__ == "__main__":
    keep(int(sys.argv[1]), Path(sys.argv[2]))
