"""One job: follow it, stop it, look at its log and its curves, submit it again."""

from collections import deque
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, TextIO

from orrery import errors
from orrery.answers import jobs
from orrery.frames import curves_frame, drawn_curves
from orrery.pictures import Picture
from orrery.progress import display, told

if TYPE_CHECKING:
    from orrery.client import Client
    from orrery.model import Model

ENDED = frozenset({"succeeded", "failed", "stopped"})
TELLING = frozenset({"log", "output", "error"})
"""Kinds of lines that help to understand a failure."""


class Job:
    """A handle of one job; `info` is what the platform said of it last."""

    def __init__(self, client: "Client", info: jobs.Job) -> None:
        self._client, self.info = client, info

    @property
    def id(self) -> str:
        """Its id."""
        return self.info.job_id

    @property
    def status(self) -> str:
        """Its status when it was last looked at; `refresh()` looks again."""
        return self.info.status

    @property
    def message(self) -> str:
        """What it waits for, or why it ended as it did."""
        return self.info.message

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that it was asked, with every reference resolved."""
        return self.info.spec

    @property
    def made(self) -> jobs.Made | None:
        """What came of it."""
        return self.info.made

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it, as far as was looked."""
        return self.info.status in ENDED

    @property
    def model(self) -> "Model":
        """The model that it is about. Raises ValueError for a job about none."""
        if "model" not in self.info.spec:
            raise ValueError(f"{self} is about no model")
        return self._client.model(f"{self.info.project}/{self.info.spec['model']}")

    def refresh(self) -> "Job":
        """Look at it again; gives itself."""
        self.info = self._client.operations.jobs.get(self.id)
        return self

    def follow(
        self, show: str | bool = True, *, file: TextIO | None = None, since: str | None = None
    ) -> "Job":
        """Wait until it has ended, and give itself.

        show: `bar` or True for its progress, `log` for its log, False for nothing.
        file: Where to write lines; standard error by default.
        since: Id of a line of its log, to show only what follows it.

        A lost connection is taken up again, and an interrupt (Ctrl-C) ends the following alone, not
        the job. Raises JobFailed with the reason and the last lines, JobStopped, or Unreachable
        where the platform stays away.
        """
        shown = display(str(self), show, file)
        last: deque[str] = deque(maxlen=errors.SHOWN_LINES)
        ended = "following ended"
        try:
            for event in self._client.operations.train.logs(self.id, last_event_id=since):
                line = event.data
                shown.show(line)
                if line.kind in TELLING:
                    last.append(line.text)
            ended = self._ended()
        finally:
            shown.end(ended)
        if self.status == "failed":
            raise errors.JobFailed(self, list(last))
        if self.status == "stopped":
            raise errors.JobStopped(self, f"{self} was stopped: {self.message}")
        return self

    def _ended(self) -> str:
        self.refresh()
        return f"{self.status}: {self.message}".rstrip(": ")

    def stop(self) -> "Job":
        """Stop it; what it reached is kept. One that has ended stays as it is."""
        if not self.refresh().has_ended:
            self.info = self._client.operations.jobs.stop(self.id)
        return self

    def logs(self, *, follow: bool = False, since: str | None = None) -> Iterator[jobs.LogLine]:
        """Lines of its log, without Dagster's own steps.

        follow: Whether to wait for what is still to come.
        since: Id of a line, to give only what follows it.
        """
        events = self._client.operations.train.logs(self.id, last_event_id=since, follow=follow)
        return (event.data for event in events if event.data.kind != "event")

    def curves(self, *names: str, points: int = 1000) -> Any:
        """Its metrics as a frame of pandas: a row for each step, a column for each metric.

        names: Metrics to give; all by default.
        points: Values of each metric at most.
        """
        return curves_frame(self._metrics(names, points))

    def plot(self, *names: str, points: int = 1000) -> Any:
        """Its metrics drawn by matplotlib, one below the other; gives the figure."""
        return drawn_curves(self._metrics(names, points), str(self))

    def _metrics(self, names: tuple[str, ...], points: int) -> Any:
        return self._client.operations.train.metrics(self.id, names=names or None, points=points)

    def pictures(self) -> list[Picture]:
        """Pictures that it drew; empty before it has ended."""
        run = self.refresh().made and self.info.made and self.info.made.mlflow_run_id
        return self._client.pictures_of(run) if run else []

    def resubmit(self, *, idempotency_key: str | None = None, **changes: Any) -> "Job":
        """Submit it again with the values it had, or some of them changed; gives the new job.

            again = job.resubmit(hyperparameters={"learning_rate": 1e-3}, seed=7)

        What is named in a mapping is changed, and the rest of it stays. A training takes
        `hyperparameters`, `seed`, `resources` and `dataset_version`, a simulation `model_version`,
        a deployment `model_version`, `rollout` and `scale`, and every job `max_seconds` and
        `callback`; None leaves the choice to the platform. Raises Invalid for others.
        """
        key = {"idempotency_key": idempotency_key}
        info = self._client.operations.jobs.resubmit(self.id, set=changes or None, **key)
        return Job(self._client, info)

    def __repr__(self) -> str:
        return f"<job {self}: {self.status}>"

    def __str__(self) -> str:
        return f"{self.info.kind} {self.info.project}/{self.info.name} ({self.id})"

    def _repr_html_(self) -> str:
        rows = {
            "job": str(self),
            "status": f"{self.status} {self.message}",
            "progress": _progress(self.info),
            "verdict": self.info.verdict,
            "made": _made(self.info),
        }
        cells = "".join(
            f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>"
            for name, value in rows.items()
            if value
        )
        return f"<table>{cells}</table>"


def _progress(info: jobs.Job) -> str:
    return told(info.progress) if info.progress else ""


def _made(info: jobs.Job) -> str:
    if info.made is None:
        return ""
    made: Mapping[str, Any] = {
        "model version": info.made.model_version,
        "dataset version": info.made.dataset_version,
        "service": info.made.service_url,
        **info.made.test_metrics,
    }
    return ", ".join(f"{name} {value}" for name, value in made.items() if value is not None)
