"""Operations on datasets and their versions."""

from datetime import datetime
from typing import Literal

from accounts.roles import Permission
from api.operations.jobs import CallbackUrl, Job, MaxSeconds
from api.operations.operation import (
    Input,
    OnceKey,
    Operation,
    Output,
    Page,
    Paged,
    ShortName,
)


class Dataset(Output):
    """A declared dataset and its newest version."""

    project: str
    name: str
    source: str
    label: str | None
    version: str | None = None
    """Content hash of the newest version; null before the first."""
    rows: int | None = None
    task: str | None = None
    """What the newest version is for: `classification` or `regression`; null without a label."""
    task_reason: str | None = None
    """Why: `declared`, or what the values of the label are like."""
    updated_at: datetime | None = None


class DatasetRemark(Output):
    """Something that a version does not hold as its source has it."""

    subject: str
    """Name of a column, a file or a function."""
    about: Literal["column", "file", "function"]
    action: Literal["left_out", "converted", "uncertain"]
    count: int
    """Values, rows or files concerned."""
    reason: str
    example: str | None = None
    file: str | None = None
    """File of the example."""
    line: int | None = None
    """Line of the example in its file."""


class ListDatasets(Paged):
    """Datasets that match."""

    project: ShortName | None = None


class ListDatasetVersions(Paged):
    """Versions of one dataset."""

    project: ShortName
    dataset: ShortName


class DatasetVersion(Output):
    """One immutable version."""

    version: str
    uri: str
    source: str | None = None
    """Source that the declaration had when the version was made."""
    rows: int | None
    bytes: int | None
    task: str | None = None
    remarks: list[DatasetRemark] = []
    """What was left out or converted, and why."""
    created_at: datetime
    dagster_run_id: str


class MakeDataset(Input):
    """A version of a dataset to make from what its source holds now."""

    project: ShortName
    dataset: ShortName
    callback: CallbackUrl | None = None
    """Called once the job has ended."""
    max_seconds: MaxSeconds | None = None
    """Time after which the job is stopped."""
    idempotency_key: OnceKey | None = None


DATASETS_LIST = Operation(
    name="datasets.list",
    method="GET",
    path="/datasets",
    summary="List datasets and their newest versions.",
    input=ListDatasets,
    output=Page[Dataset],
    permission=Permission("project", "read"),
)
DATASETS_VERSIONS = Operation(
    name="datasets.versions",
    method="GET",
    path="/datasets/{project}/{dataset}/versions",
    summary="List the versions of a dataset, newest first.",
    input=ListDatasetVersions,
    output=Page[DatasetVersion],
    permission=Permission("project", "read"),
    problems=("not-found",),
)
DATASETS_MAKE = Operation(
    name="datasets.make",
    method="POST",
    path="/datasets/{project}/{dataset}/versions",
    summary="Read the source anew and check it; rows that have not changed make no new version.",
    input=MakeDataset,
    output=Job,
    permission=Permission("model", "execute"),
    status=202,
    cost="compute",
    problems=("not-found", "budget-exceeded"),
)
OPERATIONS = (DATASETS_LIST, DATASETS_VERSIONS, DATASETS_MAKE)
