"""Operations on what is declared and what came of it: projects and models."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from accounts.roles import Permission
from api.operations import jobs
from api.operations.operation import (
    Done,
    IfMatch,
    Input,
    OnceKey,
    Operation,
    Output,
    Page,
    Paged,
    ShortName,
)


class ProjectSummary(Output):
    """A project in a list."""

    project: str
    owner: str
    description: str
    datasets: list[str]
    models: list[str]
    simulations: list[str]
    services: list[str]
    declared_in: str
    """`file` where a file of the checkout declares it, else `api`."""
    state: Literal["usable", "broken"] = "usable"
    """A broken project goes on with its last good declaration, where there was one."""
    problems: list[str] = []
    """What is wrong with its file, with line and what was expected."""


class Project(Output):
    """A project and its declaration."""

    project: str
    declaration: dict[str, Any]
    declared_in: str
    lineage_url: str
    """Page of its assets in the Dagster UI."""
    etag: str


class ProjectName(Input):
    """One project."""

    project: ShortName


class ListProjects(Paged):
    """A page of projects."""


class DeleteProject(Input):
    """A project to remove."""

    project: ShortName
    purge: bool = False
    """Whether to end everything that it made too: services, model versions, dataset versions,
    evidence and runs. It also ends what a project left whose file is gone."""


class CreateProject(Input):
    """A project to create."""

    declaration: dict[str, Any] | Annotated[str, StringConstraints(max_length=500_000)]
    """The declaration as JSON, or as the text of a YAML file."""


class ReplaceProject(Input):
    """A new declaration for a project that was created through the API."""

    project: ShortName
    declaration: dict[str, Any] | Annotated[str, StringConstraints(max_length=500_000)]
    if_match: IfMatch | None = None
    """ETag of the project as it was read; a project changed since is not touched (412)."""


class Model(Output):
    """A declared model and where its versions stand."""

    project: str
    name: str
    registered_name: str
    trainer: str
    dataset: str | None
    newest_version: int | None = None
    champion_version: int | None = None
    """The version that may take traffic."""
    url: str
    """Page in the MLflow UI."""


class ListModels(Paged):
    """Models that match."""

    project: ShortName | None = None


class ModelName(Input):
    """One model."""

    project: ShortName
    model: ShortName


class ListModelVersions(Paged):
    """Versions of one model."""

    project: ShortName
    model: ShortName


class ModelVersion(Output):
    """One registered version."""

    version: int
    aliases: list[str]
    artefact_digest: str
    dataset_version: str
    run_id: str
    url: str
    created_at: datetime
    test_metrics: dict[str, float] = {}
    """Metrics of the held-out split."""
    job_id: str | None = None
    """Job that made it; null where it was made in Dagster itself."""
    created_by: str | None = None
    """User who asked for it."""
    git_revision: str = ""
    """Revision of the platform's code."""
    project_revision: str = ""
    """Revision of the code beside the project's declaration."""


class RegisterModel(Input):
    """A finished model to become the next version of a declared one."""

    project: ShortName
    model: ShortName
    """A model that is declared with `from:`."""
    address: jobs.Reference
    """A file or folder, `s3://BUCKET/KEY`, `mlflow:models:/NAME/VERSION` or
    `hf:OWNER/NAME[@REVISION][:FILE]`."""
    callback: jobs.CallbackUrl | None = None
    """URL that gets a signed message when the job starts and when it ends."""
    max_seconds: jobs.MaxSeconds | None = None
    """Time after which the job is stopped."""
    idempotency_key: OnceKey | None = None
    """The same key again gives the same job, and starts nothing."""


PROJECTS_LIST = Operation(
    name="projects.list",
    method="GET",
    path="/projects",
    summary="List projects.",
    input=ListProjects,
    output=Page[ProjectSummary],
    permission=Permission("project", "read"),
)
PROJECTS_CREATE = Operation(
    name="projects.create",
    method="POST",
    path="/projects",
    summary="Create a project from its declaration; its assets appear in Dagster at once.",
    input=CreateProject,
    output=Project,
    permission=Permission("project", "create"),
    status=201,
    cost="light",
    problems=("conflict", "invalid"),
)
PROJECTS_GET = Operation(
    name="projects.get",
    method="GET",
    path="/projects/{project}",
    summary="Show one project and its declaration.",
    input=ProjectName,
    output=Project,
    permission=Permission("project", "read"),
    problems=("not-found",),
)
PROJECTS_REPLACE = Operation(
    name="projects.replace",
    method="PUT",
    path="/projects/{project}",
    summary="Replace the declaration of a project that was created through the API.",
    input=ReplaceProject,
    output=Project,
    permission=Permission("project", "update"),
    cost="light",
    problems=("not-found", "conflict", "invalid", "precondition-failed"),
)
PROJECTS_DELETE = Operation(
    name="projects.delete",
    method="DELETE",
    path="/projects/{project}",
    summary="Remove a project that was created through the API; what it made is kept, or purged.",
    input=DeleteProject,
    output=Done,
    permission=Permission("project", "delete"),
    cost="light",
    problems=("not-found", "conflict"),
)
MODELS_REGISTER = Operation(
    name="models.register",
    method="POST",
    path="/models/{project}/{model}/versions",
    summary="Register a finished model as the next version; answers at once with a handle.",
    input=RegisterModel,
    output=jobs.Job,
    permission=jobs.TRAIN,
    status=202,
    cost="compute",
    problems=("not-found", "conflict", "invalid", "budget-exceeded", "capacity"),
)
MODELS_LIST = Operation(
    name="models.list",
    method="GET",
    path="/models",
    summary="List models, with their newest and their champion version.",
    input=ListModels,
    output=Page[Model],
    permission=Permission("model", "read"),
)
MODELS_GET = Operation(
    name="models.get",
    method="GET",
    path="/models/{project}/{model}",
    summary="Show one model.",
    input=ModelName,
    output=Model,
    permission=Permission("model", "read"),
    problems=("not-found",),
)
MODELS_VERSIONS = Operation(
    name="models.versions",
    method="GET",
    path="/models/{project}/{model}/versions",
    summary="List the versions of a model, newest first.",
    input=ListModelVersions,
    output=Page[ModelVersion],
    permission=Permission("model", "read"),
    problems=("not-found",),
)
OPERATIONS = (
    PROJECTS_LIST,
    PROJECTS_CREATE,
    PROJECTS_GET,
    PROJECTS_REPLACE,
    PROJECTS_DELETE,
    MODELS_REGISTER,
    MODELS_LIST,
    MODELS_GET,
    MODELS_VERSIONS,
)
