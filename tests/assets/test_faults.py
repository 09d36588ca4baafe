"""What goes wrong outside, and what is left of it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.processes.plan import free_port
from engine.parent_death import die_with_parent
from projects.loading import load_project
from resources.storage.object_store import ObjectStore

SERVE = """
import sys, uvicorn
from resources.tracking.server import server_app
uvicorn.run(server_app(sys.argv[1], sys.argv[2], ""), port=int(sys.argv[3]), log_level="warning")
"""


class MlflowServer:
    """A real MLflow server that goes away and comes back."""

    def __init__(self, state: Path) -> None:
        self._state, self._port = state, free_port("127.0.0.1")
        self.uri = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *[sys.executable, "-c", SERVE],
                *[f"sqlite:///{self._state}/mlflow.db", (self._state / "mlflow").as_uri()],
                str(self._port),
            ],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        while True:
            try:
                httpx.get(f"{self.uri}/health")
                return
            except httpx.HTTPError:
                assert self._process.poll() is None
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def mlflow_server(settings, mlflow_database):
    server = MlflowServer(settings.state)
    yield server
    server.stop()


@pytest.fixture
def tracked_loop(loop, mlflow_server, monkeypatch):
    """The loop, tracked by a server instead of a file."""
    monkeypatch.setenv("ORRERY_MLFLOW_URI", mlflow_server.uri)
    loop.settings = type(loop.settings)()
    return loop


def test_training_goes_on_while_mlflow_is_away_and_nothing_is_lost(tracked_loop, mlflow_server):
    from mlflow.tracking import MlflowClient

    tracked_loop.materialize("dataset")
    slow = {"hyperparameters": {"epochs": 30, "epoch_s": 0.2}}
    done = []
    work = threading.Thread(
        target=lambda: done.append(
            tracked_loop.materialize("checkpoint", flowers__checkpoint__classifier=slow)
        )
    )
    work.start()
    jobs = tracked_loop.settings.state / "work"
    while not any("epoch" in f.read_text() for f in jobs.glob("*/progress.jsonl")):
        time.sleep(0.02)
    mlflow_server.stop()
    before = sum(len(f.read_text().splitlines()) for f in jobs.glob("*/progress.jsonl"))
    while sum(len(f.read_text().splitlines()) for f in jobs.glob("*/progress.jsonl")) < before + 5:
        time.sleep(0.02)
    mlflow_server.start()
    work.join(120)
    assert done[0].success, tracked_loop.failure_of(done[0])
    client = MlflowClient(mlflow_server.uri)
    experiment = client.get_experiment_by_name("flowers")
    (run,) = client.search_runs([experiment.experiment_id])
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "loss")]
    assert steps == list(range(1, 31))


@pytest.mark.parametrize("refusal", ["run deleted", "files forbidden"])
def test_a_finished_training_is_not_repeated_over_what_mlflow_refuses(loop, refusal):
    loop.materialize("dataset")
    slow = {"hyperparameters": {"epochs": 4, "epoch_s": 0.3}}
    done = []
    work = threading.Thread(
        target=lambda: done.append(
            loop.materialize("checkpoint", flowers__checkpoint__classifier=slow)
        )
    )
    work.start()
    jobs = loop.settings.state / "work"
    while not any("epoch" in f.read_text() for f in jobs.glob("*/progress.jsonl")):
        time.sleep(0.02)
    client = loop.tracking._client
    experiment = client.get_experiment_by_name("flowers")
    (run,) = client.search_runs([experiment.experiment_id])
    if refusal == "run deleted":
        client.delete_run(run.info.run_id)
    else:
        folder = Path(run.info.artifact_uri.removeprefix("file://"))
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.write_text("in the way")
    work.join(120)
    (result,) = done
    assert not [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]
    assert result.success, loop.failure_of(result)
    kept = loop.metadata("checkpoint", "classifier")["mlflow_run_id"]
    assert (kept != run.info.run_id) == (refusal == "run deleted")
    assert len(client.get_metric_history(kept, "loss")) == 4


def corrupt(path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0], "target": [0]}), path)
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    pq.write_table(
        pa.table({"a": pa.array([], pa.float64()), "target": pa.array([], pa.int64())}), path
    )


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (corrupt, "cannot be read"),
        (empty, "has no rows"),
        (nothing, "no file matches"),
    ],
)
def test_a_source_that_cannot_be_read_is_a_clear_failure_without_retries(
    loop, flowers, spoil, says
):
    spoil(flowers / "rows.parquet")
    file = flowers / "flowers.yaml"
    file.write_text(file.read_text().replace("sklearn:iris", "files:rows.parquet"))
    loop.project = load_project(file)
    result = loop.materialize("dataset")
    assert says in loop.failure_of(result)
    assert "rows.parquet" in loop.failure_of(result)
    assert not [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]


@pytest.mark.parametrize(
    ("rows", "check"),
    [
        ({"a": [1.0, 2.0, 3.0], "target": [1, 1, 1]}, "labels_are_usable"),
        ({"a": [1.0, float("nan"), 3.0], "target": [0, 1, 1]}, "features_are_finite"),
    ],
)
def test_rows_that_nothing_can_be_learned_from_fail_their_check(loop, flowers, rows, check):
    pq.write_table(pa.table(rows), flowers / "rows.parquet")
    file = flowers / "flowers.yaml"
    file.write_text(file.read_text().replace("sklearn:iris", "files:rows.parquet"))
    loop.project = load_project(file)
    result = loop.materialize("dataset", "checkpoint")
    failed = [e.check_name for e in result.get_asset_check_evaluations() if not e.passed]
    assert failed == [check]
    assert not loop.instance.get_latest_materialization_event(loop.key("checkpoint", "classifier"))


def test_a_full_object_store_is_tried_again_and_leaves_no_half_version(loop, monkeypatch):
    write, attempts = pq.write_table, []

    def full_at_first(*args, **options):
        attempts.append(list((loop.settings.state / "objects").rglob("version.json")))
        if len(attempts) < 4:
            raise OSError(28, "No space left on device")
        return write(*args, **options)

    monkeypatch.setattr(pq, "write_table", full_at_first)
    monkeypatch.setattr("assets.failures.PAUSES_S", (0,))
    assert loop.materialize("dataset").success
    assert attempts[:4] == [[], [], [], []]


def test_a_read_only_store_for_checkpoints_fails_the_job_with_its_reason(loop, monkeypatch):
    loop.materialize("dataset")
    (loop.settings.state / "objects" / "checkpoints").write_text("in the way")
    result = loop.materialize("checkpoint")
    assert "objects/checkpoints" in str([e for e in result.all_events if e.is_step_failure])
    os.remove(loop.settings.state / "objects" / "checkpoints")
    assert loop.materialize("checkpoint").success


def test_an_object_store_that_comes_back_costs_no_second_training(loop, monkeypatch):
    loop.materialize("dataset")
    put, calls = ObjectStore.put_folder, []

    def away_once(self, folder, key):
        calls.append(key)
        if len(calls) == 1:
            raise OSError(5, "Input/output error")
        return put(self, folder, key)

    monkeypatch.setattr(ObjectStore, "put_folder", away_once)
    result = loop.materialize("checkpoint")
    assert result.success, loop.failure_of(result)
    assert [e.event_type_value for e in result.all_events].count("STEP_UP_FOR_RETRY") == 1
    records = loop.instance.all_logs(result.run_id)
    assert sum("training starts" in record.user_message for record in records) == 1


def test_a_corrupted_artefact_is_neither_registered_nor_simulated(loop):
    loop.materialize("dataset", "checkpoint")
    digest = loop.metadata("checkpoint", "classifier")["artefact_digest"]
    model = loop.settings.state / "objects" / "artefacts" / digest / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    assert "differs from its manifest in model.onnx" in loop.failure_of(loop.materialize("model"))


def test_an_asset_whose_upstream_is_missing_says_which(loop):
    said = loop.failure_of(loop.materialize("checkpoint"))
    assert "flowers/dataset/iris was never materialised" in said


def test_a_trainer_that_raises_fails_the_step_with_its_words_and_trace(loop, flowers):
    file = flowers / "flowers.yaml"
    file.write_text(file.read_text().replace("flowers_training:train", "flowers_training:explode"))
    loop.project = load_project(file)
    said = loop.failure_of(loop.materialize("dataset", "checkpoint"))
    assert "the loss function met a unicorn" in said
    assert "flowers_training.py" in said


def test_the_definitions_of_a_third_project_need_no_change_of_the_platform(flowers, monkeypatch):
    monkeypatch.setenv("ORRERY_PROJECTS", str(flowers))
    from definitions import defs

    keys = {k.to_user_string() for k in defs().resolve_asset_graph().get_all_asset_keys()}
    assert {"flowers/dataset/iris", "flowers/service/classifier-api"} <= keys
    dg.Definitions.validate_loadable(defs())
