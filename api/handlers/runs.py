"""Runs of MLflow: what they hold, and changes to those that no job owns."""

import time
from base64 import b64encode

from api.context import Call
from api.handlers.jobs import curves_of, moment
from api.operations import runs as ops
from api.operations.curves import Metrics
from api.operations.operation import Done
from api.problems import Problem, not_found
from resources.tracking.adapter import JOB_TAG
from resources.tracking.runs import FileTooLarge, LoggedRun, LoggedValue, finite

LARGEST_FILE = 16 * 2**20
"""Bytes of the largest file that is given; Base64 makes a third more of them."""
OWN_TAGS = ("mlflow.", "orrery.")
"""Prefixes of tags that MLflow and the platform set for themselves."""


def get(call: Call, request: ops.RunId) -> ops.Run:
    """One run."""
    return run_view(_existing(call, request.id))


def change(call: Call, request: ops.ChangeRun) -> ops.Run:
    """End, rename or tag the run."""
    run = _own(call, request.id)
    call.begin_change()
    call.platform.experiments.change(
        run.id, status=request.status, name=request.name, tags=request.tags
    )
    after = request.model_dump(mode="json", exclude={"id"}, exclude_defaults=True)
    with call.platform.control.write() as connection:
        call.audited(connection, f"run/{run.id}", before={"status": run.status}, after=after)
    return run_view(_existing(call, run.id))


def delete(call: Call, request: ops.RunId) -> Done:
    """Delete the run; MLflow keeps what it deletes until its own garbage collection."""
    run = _own(call, request.id)
    versions = call.platform.tracking.versions_of_run(run.id)
    if versions:
        names = ", ".join(versions)
        raise Problem("conflict", f"run {run.id} made {names}, whose origin it is")
    call.begin_change()
    call.platform.experiments.delete_run(run.id)
    with call.platform.control.write() as connection:
        call.audited(connection, f"run/{run.id}", before={"name": run.name})
    return Done(message=f"run {run.id} is deleted")


def files(call: Call, request: ops.RunId) -> ops.RunFiles:
    """Every file of the run."""
    run = _existing(call, request.id)
    listing = call.platform.experiments.files(run.id)
    return ops.RunFiles(files=[ops.RunFile(path=f.path, bytes=f.bytes) for f in listing])


def file(call: Call, request: ops.RunFileName) -> ops.RunFileContent:
    """One file of the run. Raises the problems `not-found` and `too-large`."""
    run = _existing(call, request.id)
    try:
        content = call.platform.experiments.file(run.id, request.path, LARGEST_FILE)
    except FileTooLarge as error:
        raise Problem("too-large", str(error), todo="Fetch it from the MLflow UI.") from error
    if content is None:
        raise not_found("file", request.path)
    encoded = b64encode(content).decode()
    return ops.RunFileContent(path=request.path, bytes=len(content), base64=encoded)


def add_file(call: Call, request: ops.AddFile) -> ops.RunFile:
    """Keep a file with the run."""
    run = _own(call, request.id)
    content = request.content
    call.begin_change()
    call.platform.experiments.add_file(run.id, request.path, content)
    with call.platform.control.write() as connection:
        after = {"file": request.path, "bytes": len(content)}
        call.audited(connection, f"run/{run.id}", after=after)
    return ops.RunFile(path=request.path, bytes=len(content))


def metrics(call: Call, request: ops.RunMetrics) -> Metrics:
    """Curves of a run."""
    return curves_of(call, _existing(call, request.id), request.names, request.points)


def log(call: Call, request: ops.LogMetrics) -> Done:
    """Record a batch of metrics."""
    run = _existing(call, request.id)
    now = time.time()
    call.begin_change()
    call.platform.experiments.log(
        run.id,
        [
            LoggedValue(p.name, p.value, p.step, p.at.timestamp() if p.at else now)
            for p in request.metrics
        ],
    )
    return Done(message=f"{len(request.metrics)} values are recorded in {run.id}")


def project_names(call: Call) -> dict[str, str]:
    """Visible projects: their names in MLflow, and within the organization."""
    projects = call.platform.projects
    return {p.name: projects.shown(p.name) for p in projects.visible(call.principal)}


def _existing(call: Call, run_id: str) -> LoggedRun:
    run = call.platform.experiments.run(run_id)
    if run is None:
        raise not_found("run", run_id)
    experiment = call.platform.experiments.find(run.experiment_id)
    if experiment is None or experiment.project not in project_names(call):
        raise not_found("run", run_id)
    return run


def _own(call: Call, run_id: str) -> LoggedRun:
    """The run, which no job owns. Raises the problems `not-found` and `conflict`."""
    run = _existing(call, run_id)
    if JOB_TAG in run.tags:
        raise Problem(
            "conflict",
            f"run {run_id} belongs to a job, which writes and ends it",
            todo="Start a run of your own with experiments.start-run.",
        )
    return run


def run_view(run: LoggedRun) -> ops.Run:
    """The run as the API shows it."""
    return ops.Run(
        id=run.id,
        experiment_id=run.experiment_id,
        name=run.name,
        status=run.status,
        parameters=run.parameters,
        metrics={name: finite(value) for name, value in run.metrics.items()},
        tags={k: v for k, v in run.tags.items() if not k.startswith(OWN_TAGS)},
        started_at=moment(run.started_at),
        ended_at=moment(run.ended_at),
        url=run.url,
    )
