"""One turn of a project's loop from the command line, ending with services that answer."""

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from api.cli.dagster_runs import DagsterRun
from api.cli.shown_runs import shown, with_free_ports
from api.processes.plan import is_up
from api.processes.supervisor import Supervisor
from assets.keys import Family, asset_key
from jobs.project_jobs import job_name
from projects.loading import InvalidProject, LoadedProject, load_project, project_files
from projects.nearest import hint
from resources.settings import Settings

ANSWER_WITHIN_S = 10
METRICS = ("accuracy", "macro_f1", "rmse", "mae", "r2")
"""Metrics of the held-out split that are shown beside their baseline."""


class TurnFailed(Exception):
    """The loop did not come round, or there is no such project."""


def found(name: str, settings: Settings) -> tuple[LoadedProject, Settings]:
    """The project of this name or file, and the settings with its folder.

    It is looked for in the folders of the settings, then in the working directory. Raises
    InvalidProject, or TurnFailed where there is none.
    """
    known = {}
    for file in _files(name, settings):
        try:
            project = load_project(file)
        except InvalidProject:
            if file.stem == Path(name).stem:
                raise
            continue
        known[project.name] = project
        if name in (project.name, str(file)):
            return project, _with_folder(settings, file.parent)
    raise TurnFailed(
        f"no project {name!r}{hint(name, known)}; expected a name, or the path of a project file"
    )


def _files(name: str, settings: Settings) -> Iterator[Path]:
    if Path(name).suffix in (".yaml", ".yml") and Path(name).is_file():
        yield Path(name)
    for folder in settings.project_folders:
        if folder.is_dir():
            yield from project_files([folder])
    for file in (Path(f"{name}.yaml"), Path(name, f"{name}.yaml")):
        if file.is_file():
            yield file.absolute()


def _with_folder(settings: Settings, folder: Path) -> Settings:
    folders = [each.resolve() for each in settings.project_folders]
    if folder.resolve() in folders:
        return settings
    # Only this project's, so that what others declare cannot stand in its way.
    return settings.model_copy(update={"projects": str(folder.resolve())})


class Turn:
    """Turns one project's loop, and shows what happens."""

    def __init__(self, project: LoadedProject, settings: Settings, console: Console) -> None:
        self._project, self._console = project, console
        self._is_guest = is_up(settings)
        self._settings = settings if self._is_guest else with_free_ports(settings)
        self._supervisor = Supervisor(self._settings, self._say)
        self._started = time.monotonic()
        self._metadata: dict[str, dict[str, Any]] = {}
        self._commands: list[str] = []

    def run(self, *, stop: bool) -> None:
        """Turn the loop; without `stop` the services go on until Ctrl-C.

        Raises TurnFailed, api.processes.supervisor.PortTaken or NotReady.
        """
        try:
            self._start()
            self._turn()
            self._table()
            if not stop and not self._is_guest:
                self._console.print("The services answer until Ctrl-C.")
                self._supervisor.keep()
        finally:
            if not self._is_guest:
                self._say("stopping what was started")
                self._supervisor.stop()

    def _start(self) -> None:
        if self._is_guest:
            self._say("using the processes of the `orrery up` that is running")
            return
        self._say("starting the platform on this machine")
        self._supervisor.start()
        self._supervisor.wait_ready({"warm server", "reconciler and router"})

    def _turn(self) -> None:
        job = job_name("turn", self._project.name)
        self._say(f"one turn of the loop: [bold]{job}[/bold]")
        run = DagsterRun(self._settings, self._project.name, job)
        refusals = []
        for happening in shown(run, self._say):
            if happening.kind == "materialized":
                self._metadata[happening.text] = happening.metadata
            elif happening.kind == "failed":
                refusals.append(happening.text.strip())
        if not run.succeeded:
            reasons = "\n".join(refusals) or f"its output is in {run.log}"
            raise TurnFailed(f"the loop of {self._project.name} did not come round:\n{reasons}")

    def _table(self) -> None:
        table = Table(title=f"One turn of {self._project.name}", show_header=False, min_width=80)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for family, part, text in self._rows():
            table.add_row(f"{family} {part}", text)
        table.add_row(
            "where to look next",
            f"{self._settings.dagster_url} (lineage, checks, schedules) and "
            f"{self._settings.mlflow_url} (experiments, models)",
        )
        self._console.print(table)
        for command in self._commands:
            # Outside of the table, so that it can be copied.
            self._console.print(command, highlight=False, soft_wrap=True, markup=False)

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        declared = self._project.declaration
        for name in declared.datasets:
            if made := self._made("dataset", name):
                yield "dataset", name, str(made.get("version", ""))
        for name in declared.models:
            if made := self._made("checkpoint", name):
                yield "model", name, "; ".join(_compared(made)) or "trained"
            if made := self._made("champion", name):
                yield "gate", name, str(made.get("verdict", "")).replace("- ", "")
        for name in declared.services:
            if made := self._made("service", name):
                answered = _Answered.by(str(made["address"]))
                self._commands.append(answered.command)
                yield "service", name, answered.sentence

    def _made(self, family: Family, name: str) -> dict[str, Any] | None:
        return self._metadata.get(asset_key(self._project.name, family, name).to_user_string())

    def _say(self, text: str) -> None:
        gone = f"[dim]{time.monotonic() - self._started:4.0f} s[/dim]"
        self._console.print(f"{gone} {text}", highlight=False, soft_wrap=True)


def _compared(made: dict[str, Any]) -> Iterator[str]:
    for metric in METRICS:
        if (value := made.get(f"test_{metric}")) is not None:
            baseline = made.get(f"baseline_{metric}")
            beside = "" if baseline is None else f" (baseline {baseline:.3g})"
            yield f"{metric} {value:.3f}{beside}"


class _Answered(NamedTuple):
    """A service's example, as it can be asked again."""

    address: str
    request: str
    prediction: Any
    model_version: int

    @classmethod
    def by(cls, address: str) -> "_Answered":
        """What the service at the address answers to the example of its model."""
        base = address.removesuffix("/predict")
        signature, example = _got(f"{base}/schema.json"), _got(f"{base}/example.json")
        reply = _got(f"{base}/example")
        names = [column["name"] for column in signature["columns"]]
        row = example["inputs"][0]
        request = {"rows": [dict(zip(names, row, strict=True))]} if names else {"inputs": [row]}
        return cls(address, json.dumps(request), reply["predictions"][0], reply["model_version"])

    @property
    def sentence(self) -> str:
        """The address, and what it answers."""
        return (
            f"{self.address}\nanswers {self.prediction!r} to the model's example, by model version "
            f"{self.model_version}"
        )

    @property
    def command(self) -> str:
        """A command that asks."""
        quoted = shlex.quote(self.request)
        return f"curl -s {self.address} -H 'content-type: application/json' -d {quoted}"


def _got(url: str) -> Any:
    return httpx.get(url, timeout=ANSWER_WITHIN_S).raise_for_status().json()
