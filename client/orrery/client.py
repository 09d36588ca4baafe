"""The client: jobs, models and services of one platform as handles, and every operation."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import httpx

from orrery.answers.accounts import Me
from orrery.answers.declared import RolloutFields, ScaleFields, SearchFields
from orrery.answers.job_resources import JobResourcesFields
from orrery.answers.jobs import Job as JobInfo
from orrery.connection import Connection
from orrery.discovery import discovered
from orrery.frames import comparison_frame, curve_comparison_frame
from orrery.job import Job
from orrery.model import Model
from orrery.operations import Operations
from orrery.pictures import Picture
from orrery.service import Service


def connect(
    url: str | None = None,
    key: str | None = None,
    *,
    timeout_s: float = 60.0,
    patience_s: float = 60.0,
    transport: httpx.BaseTransport | None = None,
) -> "Client":
    """A client of the platform.

    url: Its address; by default `ORRERY_URL`, what `orrery sign-in` kept, or this machine's.
    key: The API key; by default `ORRERY_API_KEY`, or the one that was kept for the address.
    timeout_s: Longest time that one try of a request may take.
    patience_s: How long an outage of the platform is waited for.
    transport: How httpx speaks with the platform, where it is not by the network alone.

    Raises NoKey, or ValueError for an address that is none. Nothing is asked of the platform yet.
    """
    place = discovered(url, key)
    options = {"timeout_s": timeout_s, "patience_s": patience_s}
    return Client(Connection(place.url, place.key, transport=transport, **options))


class Client:
    """One platform, one key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.operations = Operations(connection)
        """Every operation of the platform, by group."""

    @property
    def url(self) -> str:
        """Address of the platform."""
        return self._connection.url

    def me(self) -> Me:
        """Who the platform takes the key for, and what it may do."""
        return self.operations.account.me()

    def train(
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
        """Start a training job; `operations.train.submit` says what the fields are."""
        return self.handle(
            self.operations.train.submit(
                model,
                project=project,
                dataset=dataset,
                dataset_version=dataset_version,
                label=label,
                hyperparameters=hyperparameters,
                search=search,
                from_checkpoint=from_checkpoint,
                seed=seed,
                resources=resources,
                callback=callback,
                max_seconds=max_seconds,
                idempotency_key=idempotency_key,
            )
        )

    def simulate(
        self,
        simulation: str,
        *,
        model_version: int | None = None,
        max_seconds: float | None = None,
        callback: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Run a simulation, `PROJECT.SIMULATION`, against a version of its model."""
        return self.handle(
            self.operations.simulate.start(
                simulation,
                model_version=model_version,
                max_seconds=max_seconds,
                callback=callback,
                idempotency_key=idempotency_key,
            )
        )

    def deploy(
        self,
        service: str,
        *,
        model: str | None = None,
        rollout: RolloutFields | None = None,
        scale: ScaleFields | None = None,
        model_version: int | None = None,
        max_seconds: float | None = None,
        callback: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Deploy a service, `PROJECT.SERVICE`; one that is not declared yet needs a model."""
        project, _, name = service.partition(".")
        return self.handle(
            self.operations.services.deploy(
                project,
                name,
                model=model,
                rollout=rollout,
                scale=scale,
                model_version=model_version,
                max_seconds=max_seconds,
                callback=callback,
                idempotency_key=idempotency_key,
            )
        )

    def job(self, id: str) -> Job:
        """The job of the id. Raises NotFound."""
        return self.handle(self.operations.jobs.get(id))

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """Jobs, the newest first, as far as they are iterated.

        filters: `project`, `name`, `status` or `kind`.
        """
        return map(self.handle, self.operations.jobs.list(**filters))

    def model(self, name: str) -> Model:
        """The model `PROJECT/MODEL`; nothing is asked of the platform yet."""
        project, slash, model = name.partition("/")
        if not slash:
            raise ValueError(f"got the model {name!r}, expected PROJECT/MODEL")
        return Model(self, project, model)

    def models(self, project: str | None = None) -> Iterator[Model]:
        """Models, as far as they are iterated."""
        listed = self.operations.models.list(project=project)
        return (Model(self, each.project, each.name) for each in listed)

    def service(self, id: str) -> Service:
        """The service `PROJECT.SERVICE`; nothing is asked of the platform yet."""
        if "." not in id:
            raise ValueError(f"got the service {id!r}, expected PROJECT.SERVICE")
        return Service(self, id)

    def services(self, project: str | None = None) -> Iterator[Service]:
        """Services, as far as they are iterated."""
        return (Service(self, each.id) for each in self.operations.services.list(project=project))

    def compare(self, jobs: Sequence[Job | str]) -> Any:
        """The jobs side by side as a frame of pandas: hyperparameters, seeds, metrics, seconds.

        jobs: Jobs, or ids of jobs.
        """
        return comparison_frame([self._newest(each) for each in jobs])

    def compare_curves(self, jobs: Sequence[Job | str], metric: str, *, points: int = 1000) -> Any:
        """One metric of several jobs as a frame of pandas: a row for each step, a column for each
        job. Raises ValueError where no job has the metric.
        """
        ids = [each if isinstance(each, str) else each.id for each in jobs]
        ask = self.operations.train.metrics
        curves = {id: ask(id, names=[metric], points=points) for id in ids}
        return curve_comparison_frame(curves, metric)

    def pictures_of(self, run_id: str, folder: str = "") -> list[Picture]:
        """Pictures in a folder of the files that a run keeps."""
        files = self.operations.runs.files(run_id).files
        names = [f.path for f in files if f.path.startswith(folder) and f.path.endswith(".png")]
        contents = [self.operations.runs.file(run_id, name) for name in names]
        return [Picture(each.path, b64decode(each.base64)) for each in contents]

    def handle(self, job: JobInfo) -> Job:
        """The handle of a job that an operation answered with."""
        return Job(self, job)

    def close(self) -> None:
        """Give up the open connections."""
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<client of {self.url}>"

    def _newest(self, job: Job | str) -> Job:
        return self.job(job) if isinstance(job, str) else job.refresh()
