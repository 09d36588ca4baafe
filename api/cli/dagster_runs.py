"""Dagster_runs as the command line starts and follows them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from api.processes.plan import env_vars
from engine.parent_death import die_with_parent
from engine.warm.client import WarmChild, WarmUnavailable, fork
from resources.orchestration.events import OUTPUT, PROGRESS
from resources.orchestration.run_projects import ONLY_PROJECTS
from resources.settings import CHECKOUT, Settings

POLL_S = 0.1
TAG = "orrery/command"


class Happening(NamedTuple):
    """One event of a dagster_run that a person wants to know."""

    kind: str
    """`log`, `started`, `materialized`, `check`, `failed`."""
    step: str
    text: str
    metadata: dict[str, Any]
    passed: bool | None = None


class DagsterRun:
    """A job of a project, executed by a process of its own, warm where the warm server answers."""

    def __init__(
        self, settings: Settings, project: str, job: str, config: dict[str, Any] | None = None
    ) -> None:
        self._settings, self._project = settings, project
        self._mark = uuid.uuid4().hex
        self.log = settings.state.absolute() / "workers" / f"command-{self._mark}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.run_id: str | None = None
        self.succeeded: bool | None = None
        argv = ["dagster", "job", "execute", "-m", "definitions", "-d", str(CHECKOUT), "-j", job]
        argv += ["--tags", json.dumps({TAG: self._mark})]
        if config:
            argv += ["-c", str(self._config_file(config))]
        self._process = self._start(argv)

    def _config_file(self, config: dict[str, Any]) -> Path:
        descriptor, name = tempfile.mkstemp(".yaml", dir=self.log.parent)
        with os.fdopen(descriptor, "w") as file:
            json.dump(config, file)
        return Path(name)

    def _start(self, argv: list[str]) -> WarmChild | subprocess.Popen:
        env = {**env_vars(self._settings), ONLY_PROJECTS: self._project}
        with self.log.open("ab") as output:
            try:
                return fork(self._settings.warm_socket, "dagster", argv, env, output.fileno())
            except WarmUnavailable:
                return subprocess.Popen(
                    [sys.executable, "-m", *argv],
                    cwd=CHECKOUT,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )

    def follow(self) -> Iterator[Happening]:
        """What happens, as it happens, until the process has ended."""
        import dagster as dg

        with dg.DagsterInstance.get() as instance:
            cursor: str | None = None
            while True:
                # Asked before the events are read, so that no event of an ended process is missed.
                ended = self._process.poll() is not None
                if self.run_id is None:
                    runs = instance.get_runs(dg.RunsFilter(tags={TAG: self._mark}), limit=1)
                    self.run_id = runs[0].run_id if runs else None
                if self.run_id is not None:
                    page = instance.get_records_for_run(self.run_id, cursor=cursor)
                    cursor = page.cursor
                    for record in page.records:
                        yield from _happenings(record.event_log_entry)
                if ended:
                    break
                time.sleep(POLL_S)
            run = instance.get_run_by_id(self.run_id) if self.run_id else None
            self.succeeded = run is not None and run.is_success

    def stop(self) -> None:
        """Interrupt the process, which stops what it started, and wait for it."""
        # 20 s, because the process itself gives its engine 10 s to end (process_group.GRACE_S).
        for number, patience_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            end = time.monotonic() + patience_s
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return
            while time.monotonic() < end:
                if self._process.poll() is not None:
                    return
                time.sleep(POLL_S)


def _happenings(entry: Any) -> Iterator[Happening]:
    event, step = entry.dagster_event, entry.step_key or ""
    if event is None:
        yield Happening("log", step, entry.user_message, {})
        return
    kind = event.event_type_value
    if event.is_engine_event:
        if {PROGRESS, OUTPUT} & event.event_specific_data.metadata.keys():
            yield Happening("log", step, event.message, {})
    elif kind == "STEP_START":
        yield Happening("started", step, "", {})
    elif kind == "ASSET_MATERIALIZATION":
        materialization = event.step_materialization_data.materialization
        metadata = {key: value.value for key, value in materialization.metadata.items()}
        yield Happening("materialized", step, materialization.asset_key.to_user_string(), metadata)
    elif kind == "ASSET_CHECK_EVALUATION":
        check = event.asset_check_evaluation_data
        text = f"{check.check_name}: {check.description or ''}"
        yield Happening("check", step, text, {}, check.passed)
    elif kind in ("STEP_FAILURE", "RUN_FAILURE") and step:
        data = event.step_failure_data
        failure = data.user_failure_data
        text = failure.description if failure and failure.description else data.error_display_string
        yield Happening("failed", step, text, {})
