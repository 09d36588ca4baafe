"""`orrery up`: starts, turns the loop, survives what is killed, and stops."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from resources.settings import CHECKOUT
from tests.api.up import Up
from tests.deploy import composed
from tests.waiting import until


@pytest.fixture(scope="module")
def up(tmp_path_factory, flowers_folder):
    """Orrery as the compose file runs it: state in PostgreSQL and a bucket."""
    folder = tmp_path_factory.mktemp("up")
    shutil.copytree(flowers_folder, folder / "projects")
    with composed.beside(folder / "pg") as environment:
        created = Up(folder, environment)
        created.env["ORRERY_PUBLIC_URL"] = created.url = created.url.replace(
            "127.0.0.1", "localhost"
        )
        begin_a_collection_at_once(created.state)
        created.start()
        created.wait_ready()
        yield created
        created.stop()


def begin_a_collection_at_once(state: Path) -> None:
    """Let the schedule have removed what is not kept long ago."""
    stamp = state / "collection" / "scheduled"
    stamp.parent.mkdir()
    stamp.touch()
    os.utime(stamp, (0, 0))


def worker_of(run: dict) -> int | None:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    worker = tags.get("orrery/worker")
    return int(worker.split(":")[1]) if worker else None


def engine_of(up) -> int | None:
    from engine import lease

    holders = [lease.holder(folder) for folder in (up.state / "work").glob("*")]
    return next(filter(None, holders), None)


def is_ready(up) -> bool:
    try:
        return httpx.get(f"{up.url}/ready").status_code == 200
    except httpx.HTTPError:
        return False


def outcome(up, job_id) -> str | None:
    """Status of the job once it has ended."""
    status = up.api.get(f"/jobs/{job_id}").raise_for_status().json()["status"]
    return status if status in ("succeeded", "failed", "stopped") else None


def require_open_inference(up) -> None:
    """Return when a client of Triton is answered at the gateway, with a key and only with one."""
    name = "flowers.classifier-api"
    place = f"{up.url.removeprefix('http://')}/inference/services/{name}"
    key = {"authorization": up.api.headers["authorization"]}
    client = triton.InferenceServerClient(place)
    assert client.is_model_ready(name, headers=key)
    taken = client.get_model_metadata(name, headers=key)["inputs"][0]
    rows = triton.InferInput(taken["name"], [1, 4], taken["datatype"])
    rows.set_data_from_numpy(np.array([[5.1, 3.5, 1.4, 0.2]], np.float32))
    # Numbers travel as bytes after the JSON, both ways.
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=True)]
    # The client writes into the headers that it is given.
    answer = client.infer(name, [rows], outputs=wanted, headers={**key})
    assert answer.as_numpy("probabilities").argmax() == 0
    with pytest.raises(InferenceServerException, match="got the model 'other'"):
        client.infer("other", [rows], headers={**key})
    with pytest.raises(InferenceServerException, match="401"):
        client.infer(name, [rows])


def test_both_uis_answer(up):
    assert up.api.get("/dagster/server_info").json()["dagster_webserver_version"]
    assert up.api.get("/mlflow/health").text == "OK"


def test_a_turn_launched_in_the_ui_ends_with_a_serving_model(up):
    run = up.finished(up.launch("turn_flowers"))
    assert run["status"] == "SUCCESS"
    answer = httpx.post(
        f"{up.router}/flowers.classifier-api/predict", json={"inputs": [[5.1, 3.5, 1.4, 0.2]]}
    )
    assert answer.json()["predictions"] == ["0"]
    require_open_inference(up)


def test_what_the_command_line_materialises_shows_in_the_ui(up):
    command = ["dagster", "asset", "materialize", "-m", "definitions", "--select"]
    done = subprocess.run(
        [sys.executable, "-m", *command, 'key:"flowers/dataset/iris"'],
        cwd=CHECKOUT,
        env=up.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    query = """
    query ($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
      assetMaterializations(limit: 1) { runId } } } }
    """
    result = up.graphql(query, key={"path": ["flowers", "dataset", "iris"]})
    (event,) = result["assetOrError"]["assetMaterializations"]
    assert event["runId"] in done.stderr + done.stdout


def test_a_killed_run_process_is_tried_again_and_resumes(up, monkeypatch):
    slow = {"hyperparameters": {"epochs": 12, "epoch_s": 1.6}}
    config = {"ops": {"flowers__checkpoint__classifier": {"config": slow}}}
    run_id = up.launch("train_flowers", config)
    pid = until(lambda: worker_of(up.run(run_id)))
    engine = until(lambda: engine_of(up))
    os.kill(pid, signal.SIGKILL)
    retry = until(lambda: next((r for r in up.runs() if r["parentRunId"] == run_id), None))
    assert retry["rootRunId"] == run_id
    until(lambda: worker_of(up.run(retry["runId"])))
    until(lambda: engine_of(up))
    assert engine_of(up) == engine
    assert up.finished(retry["runId"])["status"] == "SUCCESS"
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", up.key)
    client = MlflowClient(up.mlflow)
    (experiment,) = client.search_experiments(filter_string="name = 'flowers'")
    same_job = [
        r
        for r in client.search_runs([experiment.experiment_id])
        if r.data.tags["dagster.run_id"] == run_id
    ]
    assert len(same_job) == 1
    assert same_job[0].info.status == "FINISHED"


def test_a_run_cancelled_in_the_ui_leaves_no_engine(up):
    slow = {"hyperparameters": {"epochs": 1000, "epoch_s": 0.2}}
    config = {"ops": {"flowers__checkpoint__classifier": {"config": slow}}}
    run_id = up.launch("train_flowers", config)
    engine = until(lambda: engine_of(up))
    query = """
    mutation ($id: String!) { terminateRun(runId: $id) { __typename } }
    """
    up.graphql(query, id=run_id)
    assert up.finished(run_id)["status"] == "CANCELED"
    until(lambda: not psutil.pid_exists(engine))


def test_what_is_not_kept_is_removed_without_being_asked_for(up):
    def done() -> bool:
        found = up.api.get("/collections").raise_for_status().json()["items"]
        return [each["asked_by"] for each in found if each["state"] == "done"] == ["schedule"]

    assert until(done)


def test_schedules_and_sensors_run(up):
    query = """
    { instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }
    """

    def healthy() -> bool:
        result = up.graphql(query)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return all(d["healthy"] for d in result if d["required"])

    until(healthy)


def test_a_gateway_killed_in_the_middle_of_submits_comes_back_and_loses_and_doubles_nothing(up):
    (gateway,) = [
        p for p in psutil.Process(up.process.pid).children() if "api.server" in p.cmdline()
    ]
    path, taken = "/datasets/flowers/iris/versions", []

    def sent(number: int) -> str | None:
        headers = {"Idempotency-Key": f"kill-{number}"}
        try:
            answer = up.api.post(path, json={}, headers=headers)
        except httpx.TransportError:
            return None
        return answer.json()["job_id"] if answer.status_code == 202 else None

    def send() -> None:
        for number in range(3):
            taken.append(until(lambda n=number: sent(n)))

    sender = threading.Thread(target=send)
    sender.start()
    until(lambda: len(taken) > 1)
    gateway.kill()
    until(lambda: not gateway.is_running() and is_ready(up))
    sender.join()
    assert len(set(taken)) == 3
    for job_id in taken:
        assert until(lambda id=job_id: outcome(up, id)) == "succeeded"
        assert len(up.runs(tags=[{"key": "orrery/job", "value": job_id}])) == 1


def test_a_second_up_on_the_same_state_is_refused(up):
    refused = up.orrery("up")
    assert refused.returncode == 1
    assert "another process works" in refused.stderr


def test_commands_in_another_shell_find_the_ports_of_the_running_instance(up, monkeypatch):
    for name in ("ORRERY_PORT", "ORRERY_ROUTER_PORT", "ORRERY_ROUTER_GRPC_PORT"):
        monkeypatch.delitem(up.env, name)
    listed = up.orrery("projects", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    findings = {f["name"]: f for f in json.loads(up.orrery("doctor", "--json").stdout)}
    assert f"port {up.url.rpartition(':')[2]} of" in findings["gateway"]["message"]
    assert findings["gateway"]["state"] == findings["router"]["state"] == "ok"
    assert findings["router (gRPC)"]["state"] == "ok"


def test_services_are_listed(up):
    assert "classifier-api" in up.orrery("services", "list").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_starting_leaves_nothing_running(number, tmp_path, Up):
    up = Up(tmp_path)
    up.start()
    until(lambda: len(up.descendants()) >= 4)
    pids = up.descendants()
    up.stop(number)
    assert [p for p in pids if psutil.pid_exists(p)] == []


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path, Up):
    import socket

    up = Up(tmp_path)
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", int(up.env["ORRERY_PORT"])))
        squatter.listen()
        refused = up.orrery("up")
    assert refused.returncode == 1
    assert "ORRERY_PORT" in refused.stderr
    assert not (Path(up.state) / "processes").exists()


def test_a_killed_up_takes_its_processes_along(tmp_path, Up, empty_mlflow_database):
    up = Up(tmp_path)
    shutil.copy(empty_mlflow_database, up.state / "mlflow.db")
    up.start()
    up.wait_ready()
    pids = up.descendants()
    up.process.kill()
    up.process.wait()
    until(lambda: not [p for p in pids if psutil.pid_exists(p)])


def test_down_stops_everything_that_up_started(up):
    pids = up.descendants()
    assert len(pids) > 5
    done = up.orrery("down")
    assert done.returncode == 0, done.stderr
    up.process.wait(30)
    assert [p for p in pids if psutil.pid_exists(p)] == []
