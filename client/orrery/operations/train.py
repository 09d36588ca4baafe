"""Operations of the group train.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from orrery.answers.curves import Metrics
from orrery.answers.declared import SearchFields
from orrery.answers.job_resources import JobResourcesFields
from orrery.answers.jobs import Job, LogLine
from orrery.answers.recommendation import Recommendation
from orrery.connection import Connection, Listing, Route
from orrery.server_events import Event


class TrainOperations:
    """Operations of the group train."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def submit(
        self,
        model: str,
        *,
        project: str | None = None,
        dataset: str | None = None,
        dataset_version: str | None = None,
        label: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        search: SearchFields | Literal[False] | None = None,
        from_checkpoint: str | None = None,
        seed: int | None = None,
        resources: JobResourcesFields | None = None,
        callback: str | None = None,
        max_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Start a training job; answers at once with a handle to poll.

        model: A declared model (`reader`, `digits/reader`), an importable trainer
            (`training.vision:train`), or a Hugging Face id
            (`hf:google/vit-base-patch16-224`).
        project: Project of the model; needed where two projects have a model of this name.
        dataset: A declared dataset, or a URI such as `sklearn:digits` or
            `s3://bucket/x.parquet`; by default the model's declared one.
        dataset_version: Content hash of the dataset version; by default the newest, fixed
            when the job is taken.
        label: Column to predict, for a dataset given by its URI.
        hyperparameters: Values in place of declared ones, for this job alone; it does not
            search over them.
        search: Search for hyperparameters in place of the declared one; false for a training
            without.
        from_checkpoint: Content hash of a checkpoint of the model to go on from, or how it
            begins; another number of epochs or of workers may be asked for.
        callback: URL that gets a signed message when the job starts and when it ends.
        max_seconds: Time after which the job is stopped; a key with a budget needs it where
            too few jobs like it have ended.
        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, Conflict, BudgetExceeded, Capacity, another Refused, or Unreachable.
        """
        return self._connection.call(
            _SUBMIT,
            Job,
            {
                "model": model,
                "project": project,
                "dataset": dataset,
                "dataset_version": dataset_version,
                "label": label,
                "hyperparameters": hyperparameters,
                "search": search,
                "from_checkpoint": from_checkpoint,
                "seed": seed,
                "resources": resources,
                "callback": callback,
                "max_seconds": max_seconds,
                "idempotency_key": idempotency_key,
            },
        )

    def list(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        project: str | None = None,
        name: str | None = None,
        status: Literal[
            "queued", "starting", "waiting", "running", "stopping", "succeeded", "failed", "stopped"
        ]
        | None = None,
    ) -> Listing[Job]:
        """List training jobs, newest first.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(
            _LIST,
            Job,
            {"cursor": cursor, "limit": limit, "project": project, "name": name, "status": status},
        )

    def get(self, id: str) -> Job:
        """Show one training job.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_GET, Job, {"id": id})

    def stop(self, id: str, *, idempotency_key: str | None = None) -> Job:
        """Stop a training job, whose metrics and checkpoints are kept; delete an ended one.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(_STOP, Job, {"id": id, "idempotency_key": idempotency_key})

    def logs(
        self, id: str, *, last_event_id: str | None = None, follow: bool = True
    ) -> Iterator[Event[LogLine]]:
        """Follow the log of a job, from any place in it.

        last_event_id: Id of the last line that was received; what follows it is sent.
        follow: Whether to wait for what is still to come; false ends with the newest line.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.follow(
            _LOGS, LogLine, {"id": id, "last_event_id": last_event_id, "follow": follow}
        )

    def metrics(
        self, id: str, *, names: Sequence[str] | None = None, points: int = 1000
    ) -> Metrics:
        """Show the curves of a training job so far.

        names: Metrics to give; all by default.
        points: Values of each metric at most; of more, the first and the last are given, and
            of equal parts between them the smallest and the largest.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(
            _METRICS, Metrics, {"id": id, "names": names, "points": points}
        )

    def recommend(
        self,
        model: str,
        *,
        project: str | None = None,
        metric: str | None = None,
        lower_is_better: bool | None = None,
    ) -> Recommendation:
        """Recommend hyperparameters and resources from past runs, or say there are too few.

        metric: Metric that decides which past run was best: by default that of the model's
            search, whose trials are runs too, else `test_accuracy`.
        lower_is_better: By default as the search says, or the name of the metric.

        Raises NotFound, Conflict, another Refused, or Unreachable.
        """
        return self._connection.call(
            _RECOMMEND,
            Recommendation,
            {
                "model": model,
                "project": project,
                "metric": metric,
                "lower_is_better": lower_is_better,
            },
        )


_SUBMIT = Route(
    method="POST", path="/train/jobs", headers={"idempotency_key": "Idempotency-Key"}, has_body=True
)
_LIST = Route(method="GET", path="/train/jobs", only_reads=True)
_GET = Route(method="GET", path="/train/jobs/{id}", only_reads=True)
_STOP = Route(
    method="DELETE", path="/train/jobs/{id}", headers={"idempotency_key": "Idempotency-Key"}
)
_LOGS = Route(
    method="GET",
    path="/train/jobs/{id}/logs",
    headers={"last_event_id": "Last-Event-ID"},
    only_reads=True,
)
_METRICS = Route(method="GET", path="/train/jobs/{id}/metrics", only_reads=True)
_RECOMMEND = Route(method="GET", path="/train/recommendation", only_reads=True)
