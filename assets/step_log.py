"""What a step's outside work reports, as events of Dagster's log that keep their structure."""

from dataclasses import asdict
from typing import Any

from dagster import AssetExecutionContext, MetadataValue

# Private: the public `log_event` takes materialisations, observations and expectations only.
from dagster._core.events import DagsterEvent, EngineEventData

from engine.output import Output
from engine.progress import Progress
from resources.orchestration.events import OUTPUT, PROGRESS


class StepLog:
    """Writes progress and output of the step's engine into the log of its dagster_run."""

    def __init__(self, context: AssetExecutionContext) -> None:
        self._step = context.get_step_execution_context()
        self.ran_s: float | None = None
        """Seconds that the engine has worked, by its newest report."""

    def progress(self, report: Progress) -> None:
        """Log a report with its numbers."""
        self.ran_s = report.ran_s if report.ran_s is not None else self.ran_s
        self._log(str(report), PROGRESS, asdict(report))

    def output(self, printed: Output) -> None:
        """Log what the engine printed, as its own words."""
        self._log(printed.text, OUTPUT, {"at": printed.at, "left_out": printed.left_out})

    def _log(self, message: str, key: str, value: dict[str, Any]) -> None:
        data = EngineEventData(metadata={key: MetadataValue.json(value)})
        DagsterEvent.engine_event(self._step, message, data)
