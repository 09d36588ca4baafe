"""The demonstration: one turn of the loop on real data, and a bad model that the gate refuses."""

import time
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from api.cli.dagster_runs import DagsterRun, Happening
from api.cli.shown_runs import shown, with_free_ports
from api.processes.plan import is_up
from api.processes.supervisor import Supervisor
from resources.settings import Settings

EXPECTED_S = {
    "start": 9.0,
    "bad": 16.0,
    "digits__dataset__scans": 1.0,
    "digits__checkpoint__reader": 11.0,
    "digits__model__reader": 1.0,
    "digits__simulation__attack": 8.0,
    "digits__simulation__weathering": 2.0,
    "digits__champion__reader": 0.3,
    "digits__service__reader_api": 6.0,
    "predict": 0.5,
    "stop": 3.0,
}
"""Seconds that each part takes on two cores; the pace of what is done corrects the rest."""
BAD = {"label_noise": 1.0, "epochs": 3}


class DemoFailed(Exception):
    """The demonstration did not show what it is there to show."""


class _Clock:
    """Time gone and an estimate of the time left: what is expected, at the pace so far."""

    def __init__(self) -> None:
        self._started = self._part_began = time.monotonic()
        self._spent_s = self._expected_s = 1.0
        self._left = dict(EXPECTED_S)

    def finish(self, part: str) -> None:
        """Count a part as done, with the time since the part before it."""
        now = time.monotonic()
        self._spent_s += now - self._part_began
        self._expected_s += self._left.pop(part, 0.0)
        self._part_began = now

    def __str__(self) -> str:
        now = time.monotonic()
        pace = min(3.0, max(0.3, self._spent_s / self._expected_s))
        under_way_s = min(now - self._part_began, pace * next(iter(self._left.values()), 0.0))
        left_s = max(1.0, pace * sum(self._left.values()) - under_way_s)
        return f"[dim]{now - self._started:4.0f} s, about {left_s:.0f} s left[/dim]"


class Demo:
    """Runs the loop, prints what happens, and stops what it started."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._console = console
        self._clock = _Clock()
        self._is_guest = is_up(settings)
        self._settings = settings if self._is_guest else with_free_ports(settings)
        self._supervisor = Supervisor(self._settings, self._say)
        self._metadata: dict[str, Any] = {}

    def run(self) -> None:
        """Show the loop. Raises DemoFailed, api.processes.supervisor.PortTaken or NotReady."""
        try:
            self._start()
            self._refuse()
            self._turn()
            self._predict()
        finally:
            if not self._is_guest:
                self._supervisor.stop()
        self._table()
        if not self._is_guest:
            self._console.print("Everything the demonstration started has been stopped.")

    def _start(self) -> None:
        if self._is_guest:
            self._say("using the processes of the `orrery up` that is running")
        else:
            self._say("starting the warm server, the reconciler, the router, Dagster, MLflow")
            self._supervisor.start()
            self._supervisor.wait_ready({"warm server", "reconciler and router"})
        self._clock.finish("start")

    def _turn(self) -> None:
        self._say("one turn of the loop with the declared training: [bold]turn_digits[/bold]")
        run = DagsterRun(self._settings, "digits", "turn_digits")
        self._follow(run, finishing=True)
        if not run.succeeded:
            raise DemoFailed(f"the loop failed; its output is in {run.log}")

    def _follow(self, run: DagsterRun, *, finishing: bool) -> list[Happening]:
        seen = []
        for happening in shown(run, self._say):
            seen.append(happening)
            if finishing and happening.kind == "materialized":
                self._metadata[happening.step] = happening.metadata
                self._clock.finish(happening.step)
        return seen

    def _predict(self) -> None:
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        row, url = digits.data[7].tolist(), self._service["address"]
        answer = httpx.post(url, json={"inputs": [row]}, timeout=10).raise_for_status().json()
        self._metadata["request"] = (
            f'POST {url} {{"inputs": [[{", ".join(f"{v:g}" for v in row[:6])}, ...]]}}'
        )
        self._metadata["reply"] = (
            f"predictions {answer['predictions']} by model version {answer['model_version']}; "
            f"the label is {digits.target[7]}"
        )
        self._clock.finish("predict")
        self._say(f"a prediction: {self._metadata['reply']}")

    def _refuse(self) -> None:
        self._say("first a bad model: trained on shuffled labels, then offered to the gate")
        training = {"digits__checkpoint__reader": {"config": {"hyperparameters": BAD}}}
        bad = DagsterRun(self._settings, "digits", "turn_digits", {"ops": training})
        self._follow(bad, finishing=False)
        seen = self._follow(DagsterRun(self._settings, "digits", "deploy_digits"), finishing=False)
        refused = [h.text for h in seen if h.kind == "failed" and "gate refuses" in h.text]
        if not refused:
            raise DemoFailed("the gate let a bad model pass")
        self._metadata["refusal"] = refused[0]
        self._clock.finish("bad")

    @property
    def _service(self) -> dict[str, Any]:
        return self._metadata["digits__service__reader_api"]

    def _table(self) -> None:
        trained, champion = (
            self._metadata["digits__checkpoint__reader"],
            self._metadata["digits__champion__reader"],
        )
        table = Table(title="One turn of the loop", show_header=False, min_width=80)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        rows = trained["test_rows"]
        table.add_row("dataset version", self._metadata["digits__dataset__scans"]["version"])
        table.add_row(
            "test accuracy", f"{trained['test_accuracy']:.3f} on {rows:.0f} held-out rows"
        )
        table.add_row("gate verdict", champion["verdict"].replace("- ", ""))
        table.add_row("service", self._service["address"])
        table.add_row("request", self._metadata["request"])
        table.add_row("reply", self._metadata["reply"])
        table.add_row("bad model", self._metadata["refusal"])
        here = "" if self._is_guest else "start `orrery up` (or `make up`), then "
        table.add_row(
            "where to look next",
            f"{here}open {self._settings.dagster_url} (lineage, checks, schedules) and "
            f"{self._settings.mlflow_url} (experiments, models)",
        )
        self._console.print(table)

    def _say(self, text: str) -> None:
        self._console.print(f"{self._clock} {text}", highlight=False, soft_wrap=True)
