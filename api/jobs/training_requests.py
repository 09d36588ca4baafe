"""Orders to train a model: everything fixed that the job is to have."""

from collections.abc import Iterator
from typing import Any

from api.access.policy import hyperparameter_errors, search_errors
from api.context import Call
from api.jobs.checkpoints import find_checkpoint, is_kept
from api.jobs.made_first import to_be_made
from api.jobs.requests import Order, expected, launch
from api.jobs.wanted_models import Wanted, wanted_of
from api.operations.job_resources import JobResources
from api.operations.jobs import SubmitTraining
from api.problems import FieldError, Problem, invalid, not_found
from assets.keys import asset_key, op_name
from assets.named_models import is_stored_model
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from projects.placement import Resources
from projects.schema import Model
from projects.search import search_faults
from projects.trainers import (
    TrainerUnreadable,
    UnusableHyperparameters,
    require_hyperparameters,
)
from resources.compute.requirements import Requirements
from resources.revision import revision


def order(call: Call, request: SubmitTraining, had: Resources | None = None) -> Order:
    """The order, with the dataset version, the code revision and all values fixed; the resources
    are those that a past job `had`, or the declared ones, as the request changes them.

    Raises the problems `not-found`, `conflict`, `invalid`, `capacity`.
    """
    wanted = wanted_of(call, request)
    project, declared = wanted.project, wanted.model
    resources = _resources(had or declared.resources, request.resources)
    model = declared.ordered(request.hyperparameters, request.search)
    model = model.model_copy(update={"resources": resources})
    _require_capacity(call, model)
    hyperparameters = model.hyperparameters
    search = model.search.model_dump(mode="json", exclude_defaults=True) if model.search else None
    _require_hyperparameters(project, model)
    if errors := [*_forbidden(call, model.trainer, request)]:
        message = "the request names code or files that requests may not"
        raise Problem("invalid", message, errors=errors)
    dataset, is_made_first = _dataset(call, wanted, request.dataset_version)
    config: dict[str, Any] = {
        "hyperparameters": dict(request.hyperparameters),
        **_changed(declared.resources, resources),
    }
    if request.search:
        config["search"] = request.search.model_dump(mode="json", exclude_defaults=True)
    if request.search is False:
        config["searches"] = False
    if request.seed is not None:
        config["seed"] = request.seed
    if request.max_seconds is not None:
        config["timeout_s"] = request.max_seconds
    if dataset and dataset["version"]:
        config["dataset_version"] = dataset["version"]
    begun = _begun(call, request, wanted, is_search=model.search is not None)
    config |= {f"from_{name}": value for name, value in (begun or {}).items()}
    keys = [asset_key(project.name, family, wanted.name) for family in ("checkpoint", "model")]
    if is_made_first and model.dataset:
        keys = [*to_be_made(call, project, model.dataset), *keys]
    assets = [list(key.path) for key in keys]
    op = op_name(project.name, "checkpoint", wanted.name)
    spec = {
        "project": call.platform.projects.shown(project.name),
        "model": wanted.name,
        "trainer": model.trainer,
        "dataset": dataset,
        "hyperparameters": hyperparameters,
        "search": search,
        "seed": model.seed if request.seed is None else request.seed,
        "from_checkpoint": begun["checkpoint"] if begun else None,
        "resources": resources.model_dump(),
        "git_revision": revision(),
        "launch": launch(job_name("train", project.name), assets, {op: config}),
    }
    return Order(
        project=project.name,
        kind="train",
        name=wanted.name,
        spec=spec,
        gpus=Requirements.of(model).workers * resources.gpus_per_worker,
        expected=expected(call, "train", project, wanted.name, hyperparameters, search),
        max_seconds=request.max_seconds,
    )


def _begun(
    call: Call, request: SubmitTraining, wanted: Wanted, *, is_search: bool
) -> dict[str, Any] | None:
    """The checkpoint that the training goes on from, and the reports behind it.

    Raises the problems `not-found` and `invalid`.
    """
    if request.from_checkpoint is None:
        return None
    if is_search:
        raise invalid(
            "the trials of a search begin afresh, so it goes on from no checkpoint: leave "
            "from_checkpoint out, or order the training without its search (search: false)",
            "from_checkpoint",
        )
    found = find_checkpoint(call, wanted.project, wanted.name, request.from_checkpoint)
    if not is_kept(call, found):
        raise invalid(
            f"the files of the checkpoint {found.checkpoint[:12]} are not kept any more; "
            "checkpoints.list shows others",
            "from_checkpoint",
        )
    return {"checkpoint": found.checkpoint, "reports": found.reached or 0}


def _forbidden(call: Call, trainer: str, request: SubmitTraining) -> Iterator[FieldError]:
    """Code and files that the request names and may not."""
    gateway, root = call.platform.gateway, call.platform.settings.object_root
    given = {k: v for k, v in request.hyperparameters.items() if not is_stored_model(v, root)}
    yield from hyperparameter_errors(trainer, given, "hyperparameters", gateway)
    if request.search:
        yield from search_errors(trainer, request.search, "search", gateway)


def _require_hyperparameters(project: LoadedProject, model: Model) -> None:
    """Raises the problem `invalid` for what the trainer does not take, and for a search that the
    model cannot have."""
    if faults := dict(search_faults(model)):
        errors = [FieldError(field=f, message=m) for f, m in faults.items()]
        raise Problem("invalid", "the search does not fit the model", errors=errors)
    trainer, hyperparameters = model.trainer, model.hyperparameters
    try:
        require_hyperparameters(trainer, hyperparameters, project.file, model.search)
    except TrainerUnreadable as error:
        raise invalid(str(error), "model") from error
    except UnusableHyperparameters as error:
        errors = [FieldError(field=f, message=m) for f, m in error.fields.items()]
        raise Problem("invalid", str(error), errors=errors) from error


def _dataset(call: Call, wanted: Wanted, version: str | None) -> tuple[dict[str, Any] | None, bool]:
    """The data with its version, and whether the job must make the first version itself."""
    name = wanted.model.dataset
    if name is None or wanted.dataset is None:
        return None, False
    if version is None:
        newest = call.platform.events.newest(
            list(asset_key(wanted.project.name, "dataset", name).path)
        )
        version = str(newest.metadata["version"]) if newest else None
    else:
        version = _known_version(call, wanted.project, name, version)
    values = {"name": name, "source": wanted.dataset.source, "version": version}
    return values, version is None


def _known_version(call: Call, project: LoadedProject, name: str, version: str) -> str:
    key = list(asset_key(project.name, "dataset", name).path)
    for materialised in call.platform.events.materialisations(key, limit=1_000):
        if str(materialised.metadata.get("version", "")).startswith(version):
            return str(materialised.metadata["version"])
    raise not_found("version of the dataset", f"{name} {version}")


def _resources(declared: Resources, request: JobResources) -> Resources:
    values = request.model_dump(exclude_none=True, exclude={"gpu"})
    if request.gpu:
        number, _, kind = request.gpu.partition("x")
        count = int(number)
        if request.workers not in (None, count):
            raise invalid(
                f"got {request.workers} workers and {count} GPUs, expected as many of each",
                "resources.workers",
            )
        values |= {"workers": count, "gpus_per_worker": 1, "gpu_kind": kind or declared.gpu_kind}
    return declared.model_copy(update=values)


def _changed(declared: Resources, request: Resources) -> dict[str, Any]:
    # A dagster_run cannot change it: TrainingConfig has no such field.
    given = request.model_dump(exclude={"min_workers"})
    return {name: value for name, value in given.items() if getattr(declared, name) != value}


def _require_capacity(call: Call, model: Model) -> None:
    """Return unless the place where the job will run can never give it what it asks for."""
    if lack := call.platform.compute.lack_of(Requirements.of(model)):
        raise Problem("capacity", lack)
