"""The main job, as a newcomer runs it."""

import os
import signal
import subprocess
import sys

import psutil

from api.processes.plan import free_port
from engine.parent_death import die_with_parent
from resources.settings import CHECKOUT
from tests.waiting import PATIENCE_S


def demo(tmp_path) -> subprocess.Popen:
    ports = {
        f"ORRERY_{name}_PORT": str(free_port("127.0.0.1"))
        for name in ("DAGSTER", "MLFLOW", "ROUTER")
    }
    return subprocess.Popen(
        [sys.executable, "-c", "from api.cli.main import main; main()", "demo"],
        cwd=CHECKOUT,
        env={**os.environ, **ports, "ORRERY_STATE": str(tmp_path / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


def left_of(state: str) -> list[str]:
    """Command lines of processes that still use the state folder."""
    results = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if state in line:
            results.append(line)
    return results


def test_the_demonstration_turns_the_loop_refuses_a_bad_model_and_stops(tmp_path):
    running = demo(tmp_path)
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, said
    assert "predictions ['7']" in said
    assert "The gate refuses digits.reader" in said
    assert "weathering: pass" in said
    assert left_of(str(tmp_path)) == []


def test_an_interrupted_demonstration_leaves_nothing_running(tmp_path):
    running = demo(tmp_path)
    assert running.stdout is not None
    for line in running.stdout:
        if "epoch 1/" in line:
            break
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130
    assert left_of(str(tmp_path)) == []
