"""Datasets: what is declared, the versions that were made, and making one."""

from api.context import Call
from api.handlers.jobs import job_view, moment
from api.jobs.made_first import to_be_made
from api.jobs.requests import Order, expected, launch, take
from api.operations import datasets as ops
from api.operations.jobs import Job
from api.operations.operation import Page
from api.paging import key_of, page_in_order, page_of
from api.problems import not_found
from assets.keys import asset_key
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from projects.nearest import hint
from resources.orchestration.events import Materialised
from resources.revision import revision


def list_datasets(call: Call, request: ops.ListDatasets) -> Page[ops.Dataset]:
    """Datasets of visible projects."""
    datasets = [(p, name) for p in chosen(call, request.project) for name in p.declaration.datasets]
    datasets.sort(key=lambda pair: f"{pair[0].name}/{pair[1]}")
    return page_in_order(
        datasets,
        request,
        lambda pair: f"{pair[0].name}/{pair[1]}",
        lambda pair: _dataset(call, *pair),
    )


def dataset_versions(call: Call, request: ops.ListDatasetVersions) -> Page[ops.DatasetVersion]:
    """Versions of one dataset, newest first."""
    project = _project_of(call, request.project, request.dataset)
    versions = call.platform.events.materialisations(
        list(asset_key(project.name, "dataset", request.dataset).path),
        request.limit + 1,
        key_of(request.cursor, int),
    )
    return page_of(versions, request.limit, lambda m: m.number, _dataset_version)


def make(call: Call, request: ops.MakeDataset) -> Job:
    """Take a job that reads the source."""
    order = make_order(call, request)
    return job_view(call, take(call, order, callback=request.callback), order.expected)


def make_order(call: Call, request: ops.MakeDataset) -> Order:
    """The order to make a version."""
    project = _project_of(call, request.project, request.dataset)
    name = request.dataset
    assets = [list(key.path) for key in to_be_made(call, project, name)]
    spec = {
        "project": call.platform.projects.shown(project.name),
        "dataset": name,
        "source": project.declaration.datasets[name].source,
        "git_revision": revision(),
        "launch": launch(job_name("train", project.name), assets, {}),
    }
    return Order(
        project.name,
        "make",
        name,
        spec,
        expected=expected(call, "make", project, name, {}),
        max_seconds=request.max_seconds,
    )


def chosen(call: Call, project: str | None) -> list[LoadedProject]:
    """Visible projects; the one of that name where one is given."""
    projects = call.platform.projects
    visible = projects.visible(call.principal)
    return [p for p in visible if project in (None, projects.shown(p.name))]


def _project_of(call: Call, project: str, dataset: str) -> LoadedProject:
    """The project that declares the dataset. Raises the problem `not-found`."""
    visible = call.platform.projects.find(call.principal, project)
    if dataset not in visible.declaration.datasets:
        raise not_found("dataset", dataset, hint(dataset, visible.declaration.datasets))
    return visible


def _dataset(call: Call, project: LoadedProject, name: str) -> ops.Dataset:
    declared = project.declaration.datasets[name]
    newest = call.platform.events.newest(list(asset_key(project.name, "dataset", name).path))
    return ops.Dataset(
        project=call.platform.projects.shown(project.name),
        name=name,
        source=declared.source,
        label=declared.label,
        version=_text(newest, "version"),
        rows=_number(newest, "rows"),
        task=_text(newest, "task") or None,
        task_reason=_text(newest, "task_reason") or None,
        updated_at=moment(newest.at) if newest else None,
    )


def _dataset_version(materialised: Materialised) -> ops.DatasetVersion:
    return ops.DatasetVersion(
        version=_text(materialised, "version") or "",
        uri=_text(materialised, "uri") or "",
        source=_text(materialised, "source") or None,
        rows=_number(materialised, "rows"),
        bytes=_number(materialised, "bytes"),
        task=_text(materialised, "task") or None,
        remarks=_remarks(materialised),
        created_at=moment(materialised.at),
        dagster_run_id=materialised.run_id,
    )


def _remarks(materialised: Materialised) -> list[ops.DatasetRemark]:
    records = materialised.metadata.get("remarks") or []
    shown = [{key: value for key, value in record.items() if value != ""} for record in records]
    return [ops.DatasetRemark.model_validate(record) for record in shown]


def _text(materialised: Materialised | None, key: str) -> str | None:
    return (
        str(materialised.metadata[key]) if materialised and key in materialised.metadata else None
    )


def _number(materialised: Materialised | None, key: str) -> int | None:
    value = materialised.metadata.get(key) if materialised else None
    return int(value) if isinstance(value, (int, float)) else None
