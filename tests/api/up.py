"""A real `orrery up` over a state folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil

from api.processes.plan import free_port
from engine.parent_death import die_with_parent
from resources.settings import CHECKOUT
from tests.waiting import PATIENCE_S, until

PORTS = ("ORRERY_PORT", "ORRERY_ROUTER_PORT", "ORRERY_ROUTER_GRPC_PORT")
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
RUNS = """
query ($filter: RunsFilter) {
  runsOrError(filter: $filter) {
    ... on Runs { results { runId status rootRunId parentRunId tags { key value } } }
  }
}
"""


class Up:
    """A running `orrery up`."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """The environment may name the ports, which are else free ones."""
        self.state = folder / "state"
        self.state.mkdir(exist_ok=True)
        own = {name: str(free_port("127.0.0.1")) for name in PORTS} | dict(environment or {})
        self.env = {
            **os.environ,
            **own,
            "ORRERY_STATE": str(self.state),
            "ORRERY_PROJECTS": str(folder / "projects"),
        }
        self.url = f"http://127.0.0.1:{own['ORRERY_PORT']}"
        self.dagster, self.mlflow = f"{self.url}/dagster", f"{self.url}/mlflow"
        self.router = f"http://127.0.0.1:{own['ORRERY_ROUTER_PORT']}"
        self.log = folder / "up.log"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from api.cli.main import main; main()", "up"],
                cwd=CHECKOUT,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def orrery(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", "from api.cli.main import main; main()", *arguments]
        return subprocess.run(
            command,
            cwd=CHECKOUT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def wait_ready(self) -> None:
        assert self.process is not None

        def ready() -> bool:
            assert self.process is not None
            said = self.log.read_text() if self.log.exists() else ""
            assert self.process.poll() is None, said
            return "Ctrl-C" in said

        until(ready)

    def descendants(self) -> list[int]:
        assert self.process is not None
        return [c.pid for c in psutil.Process(self.process.pid).children(recursive=True)]

    def stop(self, number: int = signal.SIGINT) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(90)

    @property
    def key(self) -> str:
        return (self.state / "admin.key").read_text().strip()

    @cached_property
    def api(self) -> httpx.Client:
        return self.client()

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S)

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        return self.api.post("/dagster/graphql", json=body).json()["data"]

    def launch(self, job: str, config: dict[str, Any] | None = None) -> str:
        params = {
            "selector": {
                "repositoryLocationName": "orrery",
                "repositoryName": "__repository__",
                "jobName": job,
            },
            "runConfigData": json.dumps(config or {}),
        }
        answer = self.graphql(LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        return self.graphql(RUNS, filter=filters)["runsOrError"]["results"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.runs(runIds=[run_id])[0]

    def finished(self, run_id: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if run["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None

        return until(ended)
