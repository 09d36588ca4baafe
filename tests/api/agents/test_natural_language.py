"""Plain sentences: they read at once, plan changes, and reach no further than their key."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.api.gateway import running_gateway


class Model(BaseHTTPRequestHandler):
    """An endpoint that first calls the tools in `script`, then answers."""

    script: list[dict] = []
    broken = False

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        results = [m for m in body["messages"] if m["role"] == "tool"]
        if self.broken:
            self._send({"nothing": "useful"})
        elif len(results) < len(self.script):
            call = self.script[len(results)]
            function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
            answer = {"id": "c", "type": "function", "function": function}
            self._send({"choices": [{"message": {"role": "assistant", "tool_calls": [answer]}}]})
        else:
            text = f"looked at {len(results)} things"
            self._send({"choices": [{"message": {"role": "assistant", "content": text}}]})

    def _send(self, message):
        body = json.dumps(message).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def asking(tmp_path_factory, flowers_folder, empty_mlflow_database):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tmp_path_factory.mktemp("asking")
    (folder / "state").mkdir()
    shutil.copy(empty_mlflow_database, folder / "state" / "mlflow.db")
    url = f"http://127.0.0.1:{server.server_port}/v1"
    with running_gateway(folder, flowers_folder, ask_url=url, ask_model="m") as opened:
        yield opened
    server.shutdown()


def test_a_sentence_becomes_readings_and_a_plan_but_no_change(asking, monkeypatch):
    script = [
        {"name": "projects__list", "arguments": {}},
        {"name": "train__submit", "arguments": {"model": "classifier"}},
    ]
    monkeypatch.setattr(Model, "script", script)
    answer = asking.admin.post("/agent/ask", json={"question": "train the classifier"}).json()
    assert [call["tool"] for call in answer["calls"]] == ["projects.list"]
    assert [call["tool"] for call in answer["plan"]] == ["train.submit"]
    assert asking.admin.get("/jobs").json()["items"] == []


def test_a_planned_call_is_carried_out_on_consent(asking, monkeypatch):
    script = [{"name": "train__submit", "arguments": {"model": "classifier"}}]
    monkeypatch.setattr(Model, "script", script)
    answer = asking.admin.post("/agent/ask", json={"question": "train"}).json()
    (planned,) = answer["plan"]
    body = {"tool": planned["tool"], "params": planned["params"]}
    body["plan_hash"] = planned["preview"]["plan_hash"]
    done = asking.admin.post("/agent/execute", json=body)
    assert done.json()["status"] == "done"
    asking.admin.delete(f"/train/jobs/{done.json()['handle']}")


def test_a_sentence_reaches_no_further_than_its_key(asking, monkeypatch):
    script = [{"name": "train__submit", "arguments": {"model": "classifier"}}]
    monkeypatch.setattr(Model, "script", script)
    answer = asking.with_role("viewer").post("/agent/ask", json={"question": "train"}).json()
    assert answer["plan"] == []


def test_an_endpoint_that_answers_nonsense_is_told(asking, monkeypatch):
    monkeypatch.setattr(Model, "broken", True)
    refused = asking.admin.post("/agent/ask", json={"question": "hello"})
    assert refused.status_code == 502
