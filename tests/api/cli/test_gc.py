"""`orrery gc`: a plan, a question, and a removal that any interruption leaves sound."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from dagster import DagsterInstance
from rich.console import Console
from typer.testing import CliRunner

from api.cli import main
from engine import lease
from resources.settings import CHECKOUT
from tests.buckets import listed, make_bucket, put
from tests.control import new_database
from tests.old_runs import old_runs
from tests.waiting import until

COMMAND = [sys.executable, "-c", "from api.cli.main import main; main()", "gc"]


class Ended(NamedTuple):
    """What a command has said, and how it ended."""

    returncode: int
    stdout: str
    error: BaseException | None


def gc(*arguments: str, answer: str = "") -> Ended:
    """The command, in this process: a new one loads Dagster and MLflow for seconds."""
    done = CliRunner().invoke(main.app, ["gc", *arguments], input=answer)
    return Ended(done.exit_code, done.output, done.exception)


@pytest.fixture
def state(settings, mlflow_database, flowers, monkeypatch) -> Path:
    """A state folder whose project keeps its dagster_runs for a month."""
    monkeypatch.setenv("ORRERY_PROJECTS", str(flowers))
    monkeypatch.setenv("DAGSTER_HOME", str(CHECKOUT))
    monkeypatch.setattr(main, "console", Console(width=200))
    declare(flowers, "{runs: {keep_days: 30}}")
    return settings.state


def declare(flowers: Path, retention: str) -> None:
    file = flowers / "flowers.yaml"
    file.write_text(f"{file.read_text().partition('retention:')[0]}retention: {retention}\n")


@pytest.fixture
def instance(state):
    with DagsterInstance.from_config(str(CHECKOUT)) as opened:
        yield opened


def files(state: Path) -> set[str]:
    return {file.stem for file in state.glob("dagster/history/runs/*.db")} - {"index"}


def test_the_plan_says_what_goes_what_stays_and_why_and_a_dry_run_removes_nothing(instance, state):
    old, young = old_runs(instance, 3, "flowers", days=40), old_runs(instance, 2, "flowers", days=5)
    strange = old_runs(instance, 1, "vanished")

    planned = gc("--dry-run")

    assert planned.returncode == 0
    row = next(line for line in planned.stdout.splitlines() if "dagster_run" in line)
    assert [part.strip() for part in row.split("│")[1:4]] == ["flowers", "dagster_run", "3"]
    assert "younger than 30 days" in planned.stdout
    assert "no declaration names its project" in planned.stdout
    assert files(state) == {*old, *young, *strange}


def test_without_a_yes_nothing_is_removed_and_with_one_it_is(instance, state):
    old, young = old_runs(instance, 2, "flowers", days=40), old_runs(instance, 1, "flowers", days=5)
    refused = gc(answer="n\n")
    assert refused.returncode == 1
    assert files(state) == {*old, *young}

    done = gc(answer="y\n")

    assert done.returncode == 0
    assert "2 of dagster_run" in done.stdout
    assert files(state) == {*young}
    again = gc("--yes")
    assert again.returncode == 0


def test_a_gc_that_was_killed_is_finished_by_the_next(instance, state):
    old = old_runs(instance, 40, "flowers", days=40)
    process = subprocess.Popen(
        [*COMMAND, "--yes"], cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: len(files(state)) < len(old))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    finished = gc("--yes")

    assert finished.returncode == 0
    assert files(state) == set()
    assert instance.get_runs_count() == 0


def test_of_two_at_once_one_is_refused(instance, state):
    old = old_runs(instance, 1, "flowers", days=40)
    (state / "collection").mkdir()
    lock = lease.hold(state / "collection")

    refused = gc("--yes")

    os.close(lock)
    assert isinstance(refused.error, lease.AlreadyRunning)
    assert files(state) == set(old)


def test_what_cannot_be_removed_is_named_and_goes_next_time(instance, state):
    first, _ = old_runs(instance, 2, "flowers", days=40)
    in_the_way = state / "workers" / f"{first}.log"
    in_the_way.mkdir(parents=True)

    done = gc("--yes")

    assert done.returncode == 1
    assert f"not removed: dagster_run {first}" in done.stdout
    assert files(state) == {first}
    in_the_way.rmdir()
    assert gc("--yes").returncode == 0
    assert files(state) == set()


def test_a_broken_declaration_keeps_everything_of_its_project(instance, state, flowers):
    old = old_runs(instance, 2, "flowers", days=40)
    assert gc("--dry-run").returncode == 0
    file = flowers / "flowers.yaml"
    file.write_text(file.read_text().replace("keep_days", "kept_days"))

    done = gc("--yes")

    assert done.returncode == 0
    assert files(state) == set(old)


def test_logs_go_by_their_own_bound_and_those_of_no_project_by_the_settings(
    instance, state, flowers, monkeypatch
):
    declare(flowers, "{logs: {keep_days: 7}}")
    (run,) = old_runs(instance, 1, "flowers", days=40)
    workers, output = state / "workers", state / "logs" / run / "compute_logs"
    workers.mkdir()
    output.mkdir(parents=True)
    logs = [workers / f"{run}.log", workers / "command-abc.log", output / "step.out"]
    for log in logs:
        log.write_text("said")
        os.utime(log, (0, 0))
    for folder in (output, output.parent):
        os.utime(folder, (0, 0))

    assert gc("--yes").returncode == 0
    assert [log.exists() for log in logs] == [False, True, False]
    assert files(state) == {run}

    monkeypatch.setenv("ORRERY_RETENTION_LOGS_DAYS", "7")
    assert gc("--yes").returncode == 0
    assert not logs[1].exists()


def test_a_postgresql_and_a_bucket_are_collected_alike(postgresql, state, monkeypatch):
    monkeypatch.setenv("ORRERY_DAGSTER_STORAGE", new_database(postgresql))
    monkeypatch.setenv("ORRERY_OBJECTS", make_bucket(monkeypatch))
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        old = old_runs(instance, 3, "flowers", days=40)
        young = old_runs(instance, 1, "flowers", days=4)
        for run in (*old, *young):
            put(f"compute-logs/storage/{run}/compute_logs/step.out", b"said")

        done = gc("--yes")

        assert done.returncode == 0
        assert {run.run_id for run in instance.get_runs()} == set(young)
    assert {key.split("/")[2] for key in listed() if key.startswith("compute-logs")} == set(young)
