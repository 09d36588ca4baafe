"""Many processes on a state folder that nobody has used yet."""

import os
import subprocess
import sys

from resources.settings import CHECKOUT

CODE = {
    "dagster": "import dagster as dg\nwith dg.DagsterInstance.get() as i: i.get_runs(limit=1)",
    "mlflow": (
        "from definitions import adapters\nfrom resources.settings import Settings\n"
        "adapters(Settings())['tracking'].versions('none')"
    ),
}


def at_once(code: str) -> list[tuple[int, str]]:
    env = {**os.environ, "DAGSTER_HOME": str(CHECKOUT)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=CHECKOUT, env=env, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [process.communicate()[1] for process in started]
    return [(p.returncode, text) for p, text in zip(started, said, strict=True)]


def test_processes_that_open_a_new_dagster_instance_at_once_all_succeed(settings):
    ended = at_once(CODE["dagster"])
    assert [code for code, _ in ended] == [0] * 4, ended


def test_processes_that_open_a_new_mlflow_database_at_once_all_succeed(settings):
    ended = at_once(CODE["mlflow"])
    assert [code for code, _ in ended] == [0] * 4, ended
    assert not (settings.state / "mlflow.draft").exists()
