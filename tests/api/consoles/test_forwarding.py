"""The UIs in processes of their own, reached through the same gateway."""

import os
import shutil
import subprocess
import sys

import httpx
import pytest

from api.processes.plan import free_port
from engine.parent_death import die_with_parent
from resources.settings import CHECKOUT
from tests.api.consoles.test_consoles import TERMINATE, forbidden, graphql, talk
from tests.api.gateway import running_gateway
from tests.waiting import until

SERVE_MLFLOW = """
import sys, uvicorn
from resources.tracking.server import server_app
app = server_app(sys.argv[1], sys.argv[2], "/mlflow")
uvicorn.run(app, port=int(sys.argv[3]), log_level="warning")
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, flowers_folder, empty_mlflow_database):
    folder = tmp_path_factory.mktemp("forwarding")
    state = folder / "state"
    state.mkdir()
    shutil.copy(empty_mlflow_database, state / "mlflow.db")
    dagster, mlflow = free_port("127.0.0.1"), free_port("127.0.0.1")
    env = {
        **os.environ,
        "DAGSTER_HOME": str(CHECKOUT),
        "ORRERY_STATE": str(state),
        "ORRERY_PROJECTS": str(flowers_folder),
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
    }
    commands = [
        [
            *["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(dagster)],
            *["-w", str(CHECKOUT / "workspace.yaml"), "--path-prefix", "/dagster"],
        ],
        [
            *["-c", SERVE_MLFLOW, f"sqlite:///{state}/mlflow.db"],
            *[(state / "mlflow").as_uri(), str(mlflow)],
        ],
    ]
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=CHECKOUT,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        for command in commands
    ]

    def answer() -> bool:
        assert all(process.poll() is None for process in started)
        try:
            return all(
                httpx.get(url, timeout=5).is_success
                for url in (
                    f"http://127.0.0.1:{dagster}/dagster/server_info",
                    f"http://127.0.0.1:{mlflow}/mlflow/health",
                )
            )
        except httpx.HTTPError:
            return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORRERY_DAGSTER_URI", f"http://127.0.0.1:{dagster}")
        patch.setenv("ORRERY_MLFLOW_URI", f"http://127.0.0.1:{mlflow}/mlflow")
        try:
            until(answer)
            with running_gateway(folder, flowers_folder) as opened:
                yield opened
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)


def test_dagster_is_forwarded_to(gateway):
    assert graphql(gateway.admin, "{ version }").json()["data"]["version"]


def test_its_pages_and_files_come_through(gateway):
    assert "/dagster" in gateway.admin.get("/dagster/runs").text
    assert gateway.admin.get("/dagster/favicon.png").headers["content-type"] == "image/png"


def test_its_websocket_comes_through(gateway):
    query = 'subscription { capturedLogs(logKey: ["x", "compute_logs", "y"]) { cursor } }'
    message = {"id": "1", "type": "start", "payload": {"query": query}}
    assert talk(gateway, gateway.admin_key, message)["type"] in ("data", "complete")


def test_the_gate_stands_before_it_all_the_same(gateway):
    forbidden(graphql(gateway.with_role("viewer"), TERMINATE))


def test_mlflow_is_forwarded_to(gateway):
    assert gateway.admin.get("/mlflow/health").text == "OK"
    path = "/mlflow/api/2.0/mlflow/experiments/search"
    assert gateway.admin.post(path, json={"max_results": 5}).status_code == 200


def test_the_api_reads_the_same_mlflow(gateway):
    created = gateway.admin.post("/experiments", json={"project": "flowers", "name": "far"})
    assert created.status_code == 201, created.text


def test_a_job_is_started_by_the_dagster_it_is_forwarded_to(gateway):
    taken = gateway.admin.post("/train/jobs", json={"model": "classifier"}).json()
    path = f"/jobs/{taken['job_id']}"
    until(lambda: gateway.admin.get(path).json()["status"] == "starting")
    gateway.admin.delete(path)
