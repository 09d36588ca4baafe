"""Jobs through the gateway of a real `orrery up`: taken once, followed, stopped, survived."""

import asyncio
import json
import os
import shutil
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
from standardwebhooks.webhooks import Webhook

from engine import lease
from tests.api.agents.mcp_client import by_mcp
from tests.waiting import until

SLOW = {"epochs": 400, "epoch_s": 0.1}
ENDED = ("succeeded", "failed", "stopped")


@pytest.fixture(scope="module")
def up(tmp_path_factory, empty_mlflow_database, warm_server):
    from tests.api.conftest import Up

    folder = tmp_path_factory.mktemp("jobs")
    shutil.copytree(Path(__file__).parents[2] / "data" / "flowers", folder / "projects")
    created = Up(folder, {"ORRERY_WARM_SERVER": str(warm_server)})
    created.env["ORRERY_CALLBACK_PRIVATE"] = "127.0.0.0/8"
    shutil.copy(empty_mlflow_database, created.state / "mlflow.db")
    created.start()
    created.wait_ready()
    yield created
    created.stop()


def submit(up, headers=None, **body) -> dict:
    fields = {"model": "classifier", **body}
    answer = up.api.post("/train/jobs", json=fields, headers=headers or {})
    assert answer.status_code == 202, answer.text
    return answer.json()


def job(up, job_id) -> dict:
    return up.api.get(f"/jobs/{job_id}").raise_for_status().json()


def ended(up, job_id) -> dict:
    return until(lambda: result if (result := job(up, job_id))["status"] in ENDED else None)


def reached(up, job_id, status) -> dict:
    return until(lambda: result if (result := job(up, job_id))["status"] == status else None)


def engine_of(up) -> int | None:
    holders = [lease.holder(folder) for folder in (up.state / "work").glob("*")]
    return next(filter(None, holders), None)


def events(up, job_id, last=None, **params) -> list[tuple[str, dict]]:
    """Lines of the log until its end, each with its id."""
    headers = {"Last-Event-ID": last} if last else {}
    path, result = f"/train/jobs/{job_id}/logs", []
    with up.api.stream("GET", path, headers=headers, params=params, timeout=120) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("id: "):
                number = line[4:]
            elif line.startswith("data: "):
                result.append((number, json.loads(line[6:])))
    return result


@pytest.fixture(scope="module")
def trained(up) -> dict:
    """A job that ended well."""
    created = ended(up, submit(up)["job_id"])
    assert created["status"] == "succeeded", created
    return created


def test_a_job_is_taken_at_once_with_everything_to_follow_it_by(up, trained):
    before = time.monotonic()
    taken = submit(up, callback="http://127.0.0.1:9/nobody")
    assert time.monotonic() - before < 1
    assert taken["status"] == "queued"
    assert {"job_id", "estimated_time", "monitoring", "webhook_url"} <= set(taken)
    assert taken["monitoring"]["metrics_endpoint"].endswith(f"{taken['job_id']}/metrics")
    assert ended(up, taken["job_id"])["status"] == "succeeded"


def test_a_job_fixes_the_version_of_its_data_when_it_is_taken(up, trained):
    newest = up.api.get("/datasets/flowers/iris/versions").json()["items"][0]["version"]
    taken = submit(up)
    assert taken["spec"]["dataset"]["version"] == newest
    assert taken["spec"]["hyperparameters"]["epochs"]
    assert ended(up, taken["job_id"])["status"] == "succeeded"


def test_the_same_key_twice_is_one_job(up):
    headers = {"Idempotency-Key": "one"}
    first, second = submit(up, headers), submit(up, headers)
    assert first["job_id"] == second["job_id"]
    ended(up, first["job_id"])
    assert len(up.runs(tags=[{"key": "orrery/job", "value": first["job_id"]}])) == 1


def test_requests_that_race_with_one_key_make_one_job(up):
    created: list[str] = []

    def race():
        created.append(submit(up, {"Idempotency-Key": "race"})["job_id"])

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(created)) == 1
    ended(up, created[0])


def test_the_log_of_a_finished_job_resumes_anywhere(up, trained):
    whole = events(up, trained["job_id"])
    middle = whole[len(whole) // 2][0]
    assert events(up, trained["job_id"], last=middle) == whole[len(whole) // 2 + 1 :]
    assert whole[-1][1]["kind"] == "end"


def test_a_log_followed_live_is_the_log_read_afterwards(up):
    taken = submit(up, hyperparameters={"epochs": 5, "epoch_s": 0.3})
    live = events(up, taken["job_id"])
    afterwards = events(up, taken["job_id"])
    assert [number for number, _ in live] == [number for number, _ in afterwards]
    assert any("loss" in line["text"] for _, line in live)


def test_curves_are_given_by_metric(up, trained):
    result = up.api.get(f"/train/jobs/{trained['job_id']}/metrics", params={"names": "loss"}).json()
    steps = [point["step"] for point in result["metrics"]["loss"]]
    assert steps == sorted(steps)
    assert list(result["metrics"]) == ["loss"]


def test_a_stopped_job_ends_its_engine_and_keeps_what_it_reached(up):
    taken = submit(up, hyperparameters=SLOW)
    engine = until(lambda: engine_of(up))
    path = f"/train/jobs/{taken['job_id']}"
    until(lambda: len(up.api.get(f"{path}/metrics").json()["metrics"].get("loss", [])) > 2)
    assert up.api.delete(path).status_code == 202
    stopped = ended(up, taken["job_id"])
    assert stopped["status"] == "stopped"
    until(lambda: not psutil.pid_exists(engine))
    kept = stopped["message"].rpartition(" ")[2]
    assert (Path(kept) / "manifest.json").exists() or any(Path(kept).iterdir())
    metrics = up.api.get(f"{path}/metrics").json()
    run = up.api.get(f"/runs/{metrics['run_id']}/metrics").json()
    assert len(run["metrics"]["loss"]) > 2


def test_a_job_stopped_twice_is_stopped_once(up):
    taken = submit(up, hyperparameters=SLOW)
    for _ in range(2):
        assert up.api.delete(f"/train/jobs/{taken['job_id']}").status_code == 202
    assert ended(up, taken["job_id"])["status"] == "stopped"


def test_a_job_that_cannot_work_fails_in_the_words_of_its_trainer(up):
    taken = submit(up, hyperparameters={"epochs": "many"})
    failed = ended(up, taken["job_id"])
    assert failed["status"] == "failed"
    assert failed["message"]


def test_a_gateway_killed_in_the_middle_of_submits_loses_and_doubles_nothing(up):
    (gateway,) = [
        p for p in psutil.Process(up.process.pid).children() if "api.server" in p.cmdline()
    ]
    taken: list[str] = []

    def send():
        for number in range(3):
            headers = {"Idempotency-Key": f"kill-{number}"}
            body = {"model": "classifier", "hyperparameters": {"epochs": 1}}

            def sent(headers=headers, body=body):
                try:
                    answer = up.api.post("/train/jobs", json=body, headers=headers)
                except httpx.TransportError:
                    return None
                return answer.json()["job_id"] if answer.status_code == 202 else None

            taken.append(until(sent))

    sender = threading.Thread(target=send)
    sender.start()
    until(lambda: len(taken) > 1)
    gateway.send_signal(signal.SIGKILL)
    sender.join()
    assert len(set(taken)) == 3
    assert {ended(up, job_id)["status"] for job_id in taken} == {"succeeded"}
    for job_id in taken:
        assert len(up.runs(tags=[{"key": "orrery/job", "value": job_id}])) == 1


def test_a_killed_run_process_is_followed_into_its_retry(up):
    taken = submit(up, hyperparameters={"epochs": 40, "epoch_s": 0.4})
    tags = [{"key": "orrery/job", "value": taken["job_id"]}]

    def worker() -> int | None:
        for run in up.runs(tags=tags):
            result = {t["key"]: t["value"] for t in run["tags"]}.get("orrery/worker")
            if result:
                return int(result.split(":")[1])
        return None

    pid = until(worker)
    until(lambda: engine_of(up))
    os.kill(pid, signal.SIGKILL)
    assert ended(up, taken["job_id"])["status"] == "succeeded"
    numbers = [number for number, _ in events(up, taken["job_id"])]
    assert {number.split(".")[0] for number in numbers} == {"0", "1"}


@pytest.fixture
def receiver():
    """A server that keeps what is posted to it, and refuses the first time."""
    got: list[tuple[dict, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()


def test_a_callback_tells_signed_how_a_job_went(up, receiver):
    url, got = receiver
    secret = up.api.post("/organizations/callback-secret").json()["secret"]
    taken = submit(up, callback=url)
    ended(up, taken["job_id"])
    until(lambda: any(json.loads(body)["type"] == "job.succeeded" for _, body in got))
    for headers, body in got:
        lower = {key.lower(): value for key, value in headers.items()}
        assert Webhook(secret).verify(body, lower)["data"]["job_id"] == taken["job_id"]


def test_a_callback_is_visible_and_replayed_under_its_id(up, receiver):
    url, got = receiver
    taken = submit(up, callback=url)
    ended(up, taken["job_id"])
    params = {"job_id": taken["job_id"], "state": "delivered"}

    def delivered():
        items = up.api.get("/callbacks", params=params).json()["items"]
        return next((d for d in items if d["event"] == "job.succeeded"), None)

    delivery = until(delivered)
    assert up.api.post(f"/callbacks/{delivery['id']}/replay").status_code == 202
    until(lambda: sum(h["webhook-id"] == delivery["id"] for h, _ in got) == 2)


def test_a_project_of_the_api_is_assets_in_dagster_without_a_restart(up):
    declaration = {
        "project": "wines",
        "owner": "team:cellar",
        "datasets": {"bottles": {"source": "sklearn:wine", "label": "target"}},
    }
    created = up.api.post("/projects", json={"declaration": declaration})
    assert created.status_code == 201, created.text
    query = "{ assetNodes { assetKey { path } } }"

    def shown() -> bool:
        paths = [node["assetKey"]["path"] for node in up.graphql(query)["assetNodes"]]
        return ["wines", "dataset", "bottles"] in paths

    until(shown)


def test_a_trainer_and_data_that_nobody_declared_become_assets(up):
    body = {
        "model": "training.vision:train",
        "dataset": "sklearn:digits",
        "hyperparameters": {"epochs": 2, "learning_rate": 2e-3, "batch_size": 64},
    }
    taken = submit(up, **body)
    assert taken["project"] == "adhoc"
    assert ended(up, taken["job_id"])["status"] == "succeeded"
    models = [m["name"] for m in up.api.get("/models", params={"project": "adhoc"}).json()["items"]]
    assert models == [taken["name"]]


def test_hyperparameters_that_a_trainer_does_not_know_or_take_are_refused_at_submit(up):
    body = {"model": "training.vision:train", "dataset": "sklearn:digits"}
    wrong = {"epochs": 1, "learning_rat": 2e-5, "batch_size": 0}
    refused = up.api.post("/train/jobs", json={**body, "hyperparameters": wrong})
    assert refused.status_code == 422, refused.text
    said = {error["field"]: error["message"] for error in refused.json()["errors"]}
    assert said == {
        "hyperparameters.learning_rate": "missing, but required",
        "hyperparameters.batch_size": "got 0, expected: greater than or equal to 1",
        "hyperparameters.learning_rat": "unknown key; did you mean 'learning_rate'?",
    }


def test_the_loop_turns_by_the_api_alone_to_a_serving_model(up, trained):
    version = up.api.get("/models/flowers/classifier").json()["newest_version"]
    refused = up.api.post(
        "/inference/services",
        json={"project": "flowers", "name": "classifier-api", "model_version": version},
    )
    assert refused.status_code == 409
    assert "no evidence" in refused.json()["detail"]
    environments = up.api.get("/simulation/environments", params={"model": "classifier"}).json()
    for environment in environments["items"]:
        path = f"/simulation/environments/{environment['id']}"
        started = up.api.post(path, json={"model_version": version}).json()
        assert ended(up, started["job_id"])["status"] == "succeeded"
    evidence = up.api.get(f"/models/flowers/classifier/versions/{version}/evidence").json()
    assert evidence["may_serve"], evidence
    deployed = up.api.post(
        "/inference/services",
        json={"project": "flowers", "name": "classifier-api", "model_version": version},
    )
    assert ended(up, deployed.json()["job_id"])["status"] == "succeeded"
    path = "/inference/services/flowers.classifier-api"
    answer = up.api.post(f"{path}/predict", json={"inputs": [[5.1, 3.5, 1.4, 0.2]]}).json()
    assert answer["predictions"] == ["0"]
    assert answer["model_version"] == version


def test_the_loop_turns_with_nothing_but_an_mcp_client(up):
    async def turn(client):
        async def read(tool, **params):
            answer = await client.call_tool(tool, params)
            assert not answer.is_error, answer.content[0].text
            return answer.structured_content

        async def change(tool, **params):
            plan = (await read(tool, **params))["preview"]["plan_hash"]
            handle = (await read(tool, **params, plan_hash=plan))["handle"]
            while (job := await read("jobs.get", id=handle))["status"] not in ENDED:
                await asyncio.sleep(0.1)
            assert job["status"] == "succeeded", job

        about = {"project": "flowers", "model": "classifier"}
        await change("train.submit", model="flowers/classifier", seed=7)
        version = (await read("models.get", **about))["newest_version"]
        for environment in (await read("simulate.list", model="classifier"))["items"]:
            await change("simulate.start", id=environment["id"])
        assert (await read("models.evidence", **about, version=version))["may_serve"]
        await change("services.deploy", project="flowers", name="classifier-api")
        rows = [[5.1, 3.5, 1.4, 0.2]]
        answer = await read("services.predict", id="flowers.classifier-api", inputs=rows)
        return version, answer

    version, answer = by_mcp(up.url, up.key, turn)
    assert answer["predictions"] == ["0"]
    assert answer["model_version"] == version


def test_what_is_launched_in_the_ui_carries_the_user(up):
    from tests.api.conftest import LAUNCH

    selector = {
        "repositoryLocationName": "orrery",
        "repositoryName": "__repository__",
        "jobName": "train_flowers",
        "assetSelection": [{"path": ["flowers", "dataset", "iris"]}],
    }
    body = {"query": LAUNCH, "variables": {"params": {"selector": selector}}}
    forged = {"X-Orrery-User": "somebody else"}
    answer = up.api.post("/dagster/graphql", json=body, headers=forged).json()
    run_id = answer["data"]["launchRun"]["run"]["runId"]
    tags = {tag["key"]: tag["value"] for tag in up.run(run_id)["tags"]}
    assert tags["orrery/user"] == up.api.get("/me").json()["user_id"]


def test_the_command_line_follows_a_job_to_its_end(up):
    done = up.orrery("train", "submit", "classifier", "--hyperparameters", "epochs=2", "--follow")
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout


def test_the_command_line_ends_with_4_when_its_job_fails(up):
    done = up.orrery(
        "train", "submit", "classifier", "--hyperparameters", "epochs=many", "--follow"
    )
    assert done.returncode == 4


def test_the_command_line_prints_json_for_programs(up):
    done = up.orrery("projects", "list", "--json")
    assert "flowers" in [p["project"] for p in json.loads(done.stdout)["items"]]


def test_a_command_names_the_nearest_of_what_is_not_there(up):
    failed = up.orrery("services", "undeploy", "flowers.clasifier-api")
    assert failed.returncode == 1
    assert "classifier-api" in failed.stderr
