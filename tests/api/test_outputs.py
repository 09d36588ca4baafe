"""Every field of every answer has been seen with a value, on a platform whose loop has turned.

A field that is null for ever is a promise that nobody keeps; the fields come from the table of
operations, so a new one is asked for here until something fills it.
"""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import httpx
import pytest
from pydantic import BaseModel

from api.operations.operation import Output
from api.operations.table import OPERATIONS
from tests.waiting import until

SERVICE = "wilted.classifier-api"
TRAININGS = 4
"""A recommendation with a forecast needs as many."""
ENDED = ("succeeded", "failed", "stopped")
UNSEEN = {
    "Answer": "a language model answers, in test_asking",
    "CallbackSecret": "made by test_callbacks",
    "NewOrganization": "made by test_tenancy",
}
"""Outputs that other tests look at, because what makes them changes who may do what here."""
UNSEEN_FIELDS = {
    "Collection.message": "one that waits or has failed says why, in test_collections",
    "NewApiKey.revoked_at": "a new key is not revoked",
    "Service.message": "a deployment that was rolled back says why, in test_deployments",
}


class Seen:
    """Fields that had a value, as `Output.field`, and what came of the loop."""

    refusal: httpx.Response
    version: int
    evidence: dict[str, Any]
    prediction: dict[str, Any]
    runs: int

    def __init__(self, up) -> None:
        self.api, self.fields = up.client(), set()

    def ask(self, name: str, headers=None, /, **fields: Any) -> Any:
        """The answer of the operation, whose fields are noted."""
        operation = next(o for o in OPERATIONS if o.name == name)
        path = operation.path.format(**fields)
        rest = {k: v for k, v in fields.items() if k not in operation.path_fields}
        place = {"json": rest} if operation.has_body else {"params": rest}
        answer = self.api.request(operation.method, path, headers=headers, **place)
        assert answer.status_code == operation.status, f"{name}: {answer.text}"
        self._note(operation.output, answer.json())
        return answer.json()

    def _note(self, kind: Any, value: Any) -> None:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            self._note_fields(kind, value)
        elif get_origin(kind) in (Union, UnionType):
            for alternative in get_args(kind):
                if alternative is not NoneType and not isinstance(value, (str, int, float)):
                    self._note(alternative, value)
        elif isinstance(value, list) and get_args(kind):
            for one in value:
                self._note(get_args(kind)[0], one)
        elif isinstance(value, dict) and get_args(kind):
            for one in value.values():
                self._note(get_args(kind)[1], one)

    def _note_fields(self, kind: type[BaseModel], value: dict[str, Any]) -> None:
        for name, field in kind.model_fields.items():
            if value.get(name) not in (None, [], {}, ""):
                self.fields.add(f"{kind.__name__}.{name}")
                self._note(field.annotation, value[name])

    def job(self, taken: dict[str, Any]) -> dict[str, Any]:
        """The job, once it has ended."""

        def ended() -> dict[str, Any] | None:
            result = self.ask("jobs.get", id=taken["job_id"])
            return result if result["status"] in ENDED else None

        return until(ended)


def promised() -> set[str]:
    """Fields of every output in the table, nested ones included."""
    result: set[str] = set()

    def walk(kind: Any) -> None:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind.__name__ in UNSEEN:
                return
            for name, field in kind.model_fields.items():
                if name == "next_cursor":
                    continue
                if (key := f"{kind.__name__}.{name}") not in result:
                    result.add(key)
                    walk(field.annotation)
        for inner in get_args(kind):
            walk(inner)

    for operation in OPERATIONS:
        assert issubclass(operation.output, Output)
        if not operation.streams:
            walk(operation.output)
    return result


@pytest.fixture(scope="module")
def receiver():
    """Address that takes callbacks."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/called"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def seen(up, receiver) -> Seen:
    """What was seen while the loop of the project `wilted` turned by the API alone."""
    seen = Seen(up)
    _members_and_keys(seen)
    _turn_the_loop(seen, receiver)
    _change_by_an_agent(seen)
    _read_everything(seen)
    _remove_what_is_not_kept(seen, up.state)
    return seen


def test_every_field_of_every_answer_has_a_value_somewhere(seen):
    missing = sorted(promised() - seen.fields - set(UNSEEN_FIELDS))
    assert not missing, "\n".join(missing)


def test_the_loop_turns_by_the_api_alone_to_a_serving_model(seen):
    assert seen.refusal.status_code == 409
    assert "no evidence" in seen.refusal.json()["detail"]
    assert seen.evidence["may_serve"], seen.evidence
    assert seen.prediction["predictions"] == ["0"]
    assert seen.prediction["model_version"] == seen.version


def test_what_a_removed_project_left_is_shown_as_orphaned_and_can_be_purged(up, seen):
    (up.state.parent / "projects" / "wilted.yaml").unlink()
    path = f"/inference/services/{SERVICE}"
    until(lambda: up.api.get(path).json().get("declared_in") == "nowhere")
    orphaned = up.api.get(path).json()
    assert orphaned["message"].startswith("orphaned: ") and orphaned["answering"]
    ids = {s["id"] for s in up.api.get("/inference/services").json()["items"]}
    assert {SERVICE} == {i for i in ids if i.startswith("wilted.")}

    body = {"tool": "projects.delete", "params": {"project": "wilted", "purge": True}}
    plan = up.api.post("/agent/execute", json=body).raise_for_status().json()["preview"]
    said = "\n".join(plan["consequences"])
    for part in (
        "service classifier-api stops",
        f"model wilted.classifier: {TRAININGS} versions",
        f"{seen.runs} runs in",
    ):
        assert part in said
    purged = up.orrery("projects", "delete", "wilted", "--purge")
    assert purged.returncode == 0, purged.stderr
    assert "project wilted is purged" in purged.stdout
    until(lambda: up.api.get(path).status_code == 404)
    again = up.api.delete("/projects/wilted", params={"purge": True})
    assert again.status_code == 404
    assert not list((up.state / "objects" / "datasets").glob("wilted/*/*/version.json"))
    assert not list((up.state / "mlflow" / "wilted" / "models").glob("*/artifacts/*"))


def test_a_project_whose_file_is_there_is_not_purged(up):
    refused = up.api.delete("/projects/odd", params={"purge": True})
    assert refused.status_code == 409
    assert "declared in the file odd.yaml" in refused.json()["detail"]


def _members_and_keys(seen: Seen) -> None:
    ask = seen.ask
    budget = {"budget_gpu_h": 5.0, "budget_money": 50.0}
    rights = {"role": "admin", "agents_may_change": True, "expires_in_days": 3}
    key = ask("keys.create", name="ci", **rights, **budget)
    confined = ask("keys.create", name="confined", projects=["flowers"])
    mine = seen.api.headers["Authorization"]
    seen.api.headers["Authorization"] = f"Bearer {confined['key']}"
    ask("account.me")
    seen.api.headers["Authorization"] = mine
    ask("keys.revoke", id=confined["id"])
    ask("keys.list")
    user = ask("users.create", name="Ada", role="user", kind="person", email="ada@example.org")
    ask("users.sign-in-link", id=user["id"])
    ask("users.list")
    ask("organizations.list")
    seen.api.headers["Authorization"] = f"Bearer {key['key']}"
    ask("account.me")


def _turn_the_loop(seen: Seen, receiver: str) -> None:
    ask, job = seen.ask, seen.job
    created = job(ask("datasets.make", project="odd", dataset="rows", max_seconds=60))
    assert created["status"] == "succeeded", created
    ask("datasets.versions", project="odd", dataset="rows")
    body = {"model": "wilted/classifier", "max_seconds": 600, "callback": receiver}
    taken = [ask("train.submit", {"X-On-Behalf-Of": "ada"}, **body) for _ in range(TRAININGS)]
    trained, *others = [job(each) for each in taken]
    assert {each["status"] for each in [trained, *others]} == {"succeeded"}, trained
    until(lambda: _delivery(seen, trained)["delivered_at"])
    never = {"model": "wilted/classifier", "hyperparameters": {"epochs": 0}, "max_seconds": 600}
    assert job(ask("train.submit", **never))["failure"]["cause"] == "refused"
    ask("train.metrics", id=trained["job_id"], names=["loss"])
    ask("train.recommend", model="wilted/classifier")
    seen.version = ask("models.get", project="wilted", model="classifier")["newest_version"]
    service = {"project": "wilted", "name": "classifier-api", "model_version": seen.version}
    seen.refusal = seen.api.post("/inference/services", json=service)
    for environment in ask("simulate.list", project="wilted", model="classifier")["items"]:
        fields = {"model_version": seen.version, "max_seconds": 600}
        simulated = job(ask("simulate.start", id=environment["id"], **fields))
        assert simulated["verdict"] == "pass", simulated
    deployed = job(ask("services.deploy", **service, max_seconds=300))
    assert deployed["status"] == "succeeded", deployed
    seen.prediction = ask("services.predict", id=SERVICE, inputs=[[5.1, 3.5, 1.4, 0.2]])
    until(lambda: ask("services.get", id=SERVICE)["answering"][0]["requests"])


def _remove_what_is_not_kept(seen: Seen, state: Path) -> None:
    left = state / "dagster" / "history" / "runs" / "left-over.db"
    left.touch()
    os.utime(left, (1, 1))
    for body in ({"project": "wilted"}, {}):
        id = seen.ask("collections.plan", **body)["id"]
        until(lambda id=id: seen.ask("collections.get", id=id)["state"] == "planned")
        seen.ask("collections.entries", id=id)
        seen.ask("collections.run", id=id)
        until(lambda id=id: seen.ask("collections.get", id=id)["state"] == "done")
    seen.ask("collections.list")
    assert not left.exists()


def _delivery(seen: Seen, job: dict[str, Any]) -> dict[str, Any]:
    """What is known of the newest callback of the job."""
    return seen.ask("callbacks.list", job_id=job["job_id"])["items"][0]


def _change_by_an_agent(seen: Seen) -> None:
    ask = seen.ask
    params = {
        "model": "wilted/classifier",
        "max_seconds": 60,
        "callback": "http://127.0.0.1:9/nobody",
    }
    body = {"tool": "train.submit", "params": params}
    plan = ask("agent.execute", **body)["preview"]["plan_hash"]
    taken = ask("agent.execute", **body, plan_hash=plan)
    ask("agent.execute", tool="services.undeploy", params={"id": SERVICE})
    ask("jobs.stop", id=taken["handle"])
    stopped = seen.job({"job_id": taken["handle"]})
    until(lambda: _delivery(seen, stopped)["last_error"])
    declared = {
        "project": "remote",
        "owner": "team:a",
        "datasets": {"d": {"source": "sklearn:iris", "label": "target"}},
        "models": {"m": {"trainer": "training.vision:train", "dataset": "d"}},
    }
    ask("projects.create", declaration=declared)
    attack = {"kind": "linf_attack", "low": 0, "high": 8, "epsilons": [0.1]}
    gate = {"robust_accuracy": {"at_most": 1.0}}
    ask("simulate.create", project="remote", name="s", model="m", suite=attack, gate=gate)


def _read_everything(seen: Seen) -> None:
    ask = seen.ask
    for name in ("projects", "datasets", "models", "services", "simulate", "experiments", "jobs"):
        ask(f"{name}.list")
    version = ask("models.get", project="wilted", model="classifier")["champion_version"]
    ask("models.versions", project="wilted", model="classifier")
    model = {"project": "wilted", "model": "classifier"}
    checkpoint = ask("checkpoints.list", **model)["items"][0]["checkpoint"]
    ask("checkpoints.get", **model, checkpoint=checkpoint)
    seen.evidence = ask("models.evidence", project="wilted", model="classifier", version=version)
    ask("projects.get", project="wilted")
    experiments = ask("experiments.list")["items"]
    experiment = next(e["id"] for e in experiments if e["project"] == "wilted")
    run = ask("experiments.runs", id=experiment)["items"][0]
    ask("runs.metrics", id=run["id"])
    own = ask("experiments.start-run", id=experiment, name="own", parameters={"a": "1"})
    ask("runs.add-file", id=own["id"], path="note.txt", text="hello")
    ask("runs.files", id=own["id"])
    ask("runs.file", id=own["id"], path="note.txt")
    ask("runs.log", id=own["id"], metrics=[{"name": "m", "value": 1.0}])
    ask("runs.change", id=own["id"], tags={"a": "b"}, status="FINISHED")
    seen.runs = len(ask("experiments.runs", id=experiment)["items"])
    ask("agent.tools")
    ask("audit.search")
    ask("audit.verify")
