"""Jobs through the gateway of a real `orrery up`: taken once, followed, stopped, survived."""

import asyncio
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from standardwebhooks.webhooks import Webhook

from assets.keys import asset_key
from assets.upstream import identity_of
from engine import lease
from tests.api.agents.mcp_client import by_mcp
from tests.api.up import LAUNCH
from tests.waiting import until

SLOW = {"epochs": 400, "epoch_s": 0.1}
CHECKPOINT = asset_key("flowers", "checkpoint", "classifier")
ENDED = ("succeeded", "failed", "stopped")


def submit(up, headers=None, **body) -> dict:
    fields = {"model": "flowers/classifier", **body}
    answer = up.api.post("/train/jobs", json=fields, headers=headers or {})
    assert answer.status_code == 202, answer.text
    return answer.json()


def job(up, job_id) -> dict:
    return up.api.get(f"/jobs/{job_id}").raise_for_status().json()


def ended(up, job_id) -> dict:
    return until(lambda: result if (result := job(up, job_id))["status"] in ENDED else None)


def runs_of(up, job_id) -> list[dict]:
    return up.runs(tags=[{"key": "orrery/job", "value": job_id}])


def engine_of(up, job_id) -> int | None:
    """Process that trains for the job now."""
    folders = [up.state / "work" / identity_of(r["runId"], CHECKPOINT) for r in runs_of(up, job_id)]
    return next(filter(None, map(lease.holder, folders)), None)


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
def receiver():
    """A server that keeps what is posted to it."""
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


@pytest.fixture(scope="module")
def raced(up) -> list[str]:
    """Jobs of six requests that raced with one key."""
    created: list[str] = []

    def race():
        created.append(submit(up, {"Idempotency-Key": "race"})["job_id"])

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return created


@pytest.fixture(scope="module")
def trained(up, raced) -> dict:
    """A job that ended well."""
    created = ended(up, raced[0])
    assert created["status"] == "succeeded", created
    return created


class Followed(NamedTuple):
    """A job that was taken, asked for again with its key, and followed to its end."""

    taken: dict
    within_s: float
    again: dict
    live: list[tuple[str, dict]]
    callback_secret: str


@pytest.fixture(scope="module")
def followed(up, trained, receiver) -> Followed:
    secret = up.api.post("/organizations/callback-secret").json()["secret"]
    body = {"callback": receiver[0], "hyperparameters": {"epochs": 4, "epoch_s": 0.3}}
    before = time.monotonic()
    taken = submit(up, {"Idempotency-Key": "one"}, **body)
    within_s = time.monotonic() - before
    again = submit(up, {"Idempotency-Key": "one"}, **body)
    live = events(up, taken["job_id"])
    assert ended(up, taken["job_id"])["status"] == "succeeded"
    return Followed(taken, within_s, again, live, secret)


def test_a_job_is_taken_at_once_with_everything_to_follow_it_by(followed):
    taken = followed.taken
    assert followed.within_s < 1
    assert taken["status"] == "queued"
    assert {"job_id", "estimated_time", "monitoring", "webhook_url"} <= set(taken)
    assert taken["monitoring"]["metrics_endpoint"].endswith(f"{taken['job_id']}/metrics")


def test_a_job_fixes_the_version_of_its_data_when_it_is_taken(up, followed):
    newest = up.api.get("/datasets/flowers/iris/versions").json()["items"][0]["version"]
    assert followed.taken["spec"]["dataset"]["version"] == newest
    assert followed.taken["spec"]["hyperparameters"]["epochs"]


def test_the_same_key_twice_is_one_job(up, followed):
    assert followed.taken["job_id"] == followed.again["job_id"]
    assert len(runs_of(up, followed.taken["job_id"])) == 1


def test_requests_that_race_with_one_key_make_one_job(raced):
    assert len(raced) == 6
    assert len(set(raced)) == 1


def test_the_log_of_a_finished_job_resumes_anywhere(up, trained):
    whole = events(up, trained["job_id"])
    middle = whole[len(whole) // 2][0]
    assert events(up, trained["job_id"], last=middle) == whole[len(whole) // 2 + 1 :]
    assert whole[-1][1]["kind"] == "end"


def test_a_log_followed_live_is_the_log_read_afterwards(up, followed):
    afterwards = events(up, followed.taken["job_id"])
    assert [number for number, _ in followed.live] == [number for number, _ in afterwards]
    assert any("loss" in line["text"] for _, line in followed.live)


def test_curves_are_given_by_metric(up, trained):
    result = up.api.get(f"/train/jobs/{trained['job_id']}/metrics", params={"names": "loss"}).json()
    steps = [point["step"] for point in result["metrics"]["loss"]]
    assert steps == sorted(steps)
    assert list(result["metrics"]) == ["loss"]


def test_a_job_stopped_twice_is_stopped_once_and_ends_its_engine_and_keeps_what_it_reached(up):
    taken = submit(up, hyperparameters=SLOW)
    engine = until(lambda: engine_of(up, taken["job_id"]))
    path = f"/train/jobs/{taken['job_id']}"
    until(lambda: len(up.api.get(f"{path}/metrics").json()["metrics"].get("loss", [])) > 2)
    for _ in range(2):
        assert up.api.delete(path).status_code == 202
    stopped = ended(up, taken["job_id"])
    assert stopped["status"] == "stopped"
    until(lambda: not psutil.pid_exists(engine))
    kept = stopped["message"].rpartition(" ")[2]
    assert (Path(kept) / "manifest.json").exists() or any(Path(kept).iterdir())
    metrics = up.api.get(f"{path}/metrics").json()
    run = up.api.get(f"/runs/{metrics['run_id']}/metrics").json()
    assert len(run["metrics"]["loss"]) > 2


class Command(NamedTuple):
    """A command that took a job, and the job."""

    returncode: int
    stdout: str
    stderr: str
    job: dict


def commanded(up, *arguments, **filters) -> Command:
    """`orrery train submit --follow`, and the newest job that the filters find then."""
    done = up.orrery("train", "submit", *arguments, "--follow")
    newest = up.api.get("/jobs", params=filters).json()["items"][0]
    return Command(done.returncode, done.stdout, done.stderr, job(up, newest["job_id"]))


@pytest.fixture(scope="module")
def failed(up) -> Command:
    """A job with a hyperparameter that its trainer cannot use."""
    wrong = ("flowers/classifier", "--hyperparameters", "epochs=many")
    return commanded(up, *wrong, project="flowers", status="failed")


def test_a_job_that_cannot_work_fails_in_the_words_of_its_trainer(failed):
    assert failed.job["spec"]["hyperparameters"]["epochs"] == "many"
    assert failed.job["status"] == "failed"
    assert failed.job["message"]


def test_the_command_line_ends_with_4_when_its_job_fails(failed):
    assert failed.returncode == 4


def test_a_killed_run_process_is_followed_into_its_retry(up):
    taken = submit(up, hyperparameters={"epochs": 10, "epoch_s": 1.6})

    def worker() -> int | None:
        for run in runs_of(up, taken["job_id"]):
            result = {t["key"]: t["value"] for t in run["tags"]}.get("orrery/worker")
            if result:
                return int(result.split(":")[1])
        return None

    pid = until(worker)
    until(lambda: engine_of(up, taken["job_id"]))
    os.kill(pid, signal.SIGKILL)
    assert ended(up, taken["job_id"])["status"] == "succeeded"
    numbers = [number for number, _ in events(up, taken["job_id"])]
    assert {number.split(".")[0] for number in numbers} == {"0", "1"}


def test_a_callback_tells_signed_how_a_job_went(followed, receiver):
    _, got = receiver
    until(lambda: any(json.loads(body)["type"] == "job.succeeded" for _, body in got))
    for headers, body in got:
        lower = {key.lower(): value for key, value in headers.items()}
        told = Webhook(followed.callback_secret).verify(body, lower)
        assert told["data"]["job_id"] == followed.taken["job_id"]


def test_a_callback_is_visible_and_replayed_under_its_id(up, followed, receiver):
    _, got = receiver
    params = {"job_id": followed.taken["job_id"], "state": "delivered"}

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


@pytest.fixture(scope="module")
def adhoc(up) -> Command:
    """A job with a trainer and data that nobody declared."""
    values = ("epochs=1", "learning_rate=2e-3", "batch_size=64")
    options = [part for value in values for part in ("--hyperparameters", value)]
    undeclared = ("training.vision:train", "--dataset", "sklearn:digits")
    return commanded(up, *undeclared, *options, project="adhoc")


def test_a_trainer_and_data_that_nobody_declared_become_assets(up, adhoc):
    assert adhoc.job["project"] == "adhoc"
    assert adhoc.job["status"] == "succeeded"
    models = [m["name"] for m in up.api.get("/models", params={"project": "adhoc"}).json()["items"]]
    assert models == [adhoc.job["name"]]


def test_the_command_line_follows_a_job_to_its_end(adhoc):
    assert adhoc.returncode == 0, adhoc.stderr
    assert "succeeded" in adhoc.stdout


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
        for environment in (await read("simulate.list", **about))["items"]:
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


def test_the_command_line_prints_json_for_programs(up):
    done = up.orrery("projects", "list", "--json")
    assert "flowers" in [p["project"] for p in json.loads(done.stdout)["items"]]


def test_a_command_names_the_nearest_of_what_is_not_there(up):
    failed = up.orrery("services", "undeploy", "flowers.clasifier-api")
    assert failed.returncode == 1
    assert "classifier-api" in failed.stderr
