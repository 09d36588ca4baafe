"""Orders to train: a declared model, or a trainer and data that are declared on the way."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.access.policy import hyperparameter_errors, is_allowed_code, search_errors
from api.context import Call
from api.jobs.checkpoints import find_checkpoint, is_kept
from api.jobs.made_first import to_be_made
from api.jobs.requests import Order, expected, launch
from api.operations.job_resources import JobResources
from api.operations.jobs import SubmitTraining
from api.problems import FieldError, Problem, invalid, not_found
from assets.keys import asset_key, op_name
from assets.named_models import is_stored_model
from engine.model_hub import HubUnavailable, NoSuchModel, resolve
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from projects.nearest import hint
from projects.placement import Resources
from projects.schema import Dataset, Model, Project
from projects.search import search_faults
from projects.trainers import (
    TrainerUnreadable,
    UnusableHyperparameters,
    require_hyperparameters,
)
from resources.compute.requirements import Requirements
from resources.revision import revision
from resources.settings import CHECKOUT

ADHOC = "adhoc"
"""Project of models that requests train without having declared them."""
HUB = "hf:"
HUB_TRAINER = "training.hub:train"
HUB_HYPERPARAMETERS = {"epochs": 3, "learning_rate": 5.0e-5, "batch_size": 32}
"""What fine-tuning starts from; a request replaces what it names."""
TRAINER = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
URI = re.compile(r"^(sklearn|files|images|s3|sql|requests):")


@dataclass(frozen=True)
class Wanted:
    """The model to train, declared or about to be."""

    project: LoadedProject
    name: str
    model: Model
    dataset: Dataset | None


def order(call: Call, request: SubmitTraining, had: Resources | None = None) -> Order:
    """The order, with the dataset version, the code revision and all values fixed; the resources
    are those that a past job `had`, or the declared ones, as the request changes them.

    Raises the problems `not-found`, `conflict`, `invalid`, `capacity`.
    """
    wanted = _wanted(call, request)
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


def declare(call: Call, request: SubmitTraining) -> None:
    """Declare the model and the data of a request that names a trainer; once for equal requests."""
    if not is_undeclared(request.model):
        return
    name, model, dataset_name, dataset = _undeclared(call, request)
    projects, principal = call.platform.projects, call.principal
    known = [projects.shown(p.name) for p in projects.visible(principal)]
    project = request.project or ADHOC
    if project not in known:
        if request.project:
            raise not_found("project", project, hint(project, known))
        start = {"project": ADHOC, "owner": "team:adhoc", "description": "Trained by request."}
        projects.create(principal, start)
    visible = projects.find(principal, project)
    if dataset_name and dataset and dataset_name not in visible.declaration.datasets:
        part = dataset.model_dump(exclude_defaults=True)
        projects.edit(principal, project, ("datasets", dataset_name), part)
    if name not in visible.declaration.models:
        part = model.model_dump(exclude_defaults=True)
        projects.edit(principal, project, ("models", name), part)
        call.platform.declarations_changed()


def is_undeclared(model: str) -> bool:
    """Whether the reference names a trainer or a model of a hub, and not a declared model."""
    return model.startswith(HUB) or TRAINER.fullmatch(model) is not None


def find_model(call: Call, reference: str, project: str | None) -> tuple[LoadedProject, str]:
    """Project and name of a declared model; raises `not-found`, or `conflict` for two of a name."""
    projects, principal = call.platform.projects, call.principal
    named, _, name = reference.rpartition("/")
    if named and project and named != project:
        raise invalid(f"got project {project!r} and model {reference!r}", "model")
    wanted = named or project
    if wanted:
        declared_in, _ = projects.model(principal, wanted, name)
        return declared_in, name
    visible = projects.visible(principal)
    having = [p for p in visible if name in p.declaration.models]
    if not having:
        models = [m for p in visible for m in p.declaration.models]
        raise not_found("model", name, hint(name, models))
    if len(having) > 1:
        places = ", ".join(f"{projects.shown(p.name)}/{name}" for p in having)
        raise Problem(
            "conflict", f"{name!r} is a model of several projects", todo=f"One of: {places}"
        )
    return having[0], name


def _wanted(call: Call, request: SubmitTraining) -> Wanted:
    if is_undeclared(request.model):
        return _about_to_be(call, request)
    project, name = find_model(call, request.model, request.project)
    model = project.declaration.models[name]
    if request.dataset is not None and request.dataset != model.dataset:
        raise invalid(
            f"model {name!r} is declared to learn from {model.dataset!r}; name its trainer "
            f"{model.trainer!r} as the model to train on {request.dataset!r}",
            "dataset",
        )
    return Wanted(project, name, model, project.declaration.datasets.get(model.dataset or ""))


def _about_to_be(call: Call, request: SubmitTraining) -> Wanted:
    """The project as it will be with the request's model in it."""
    name, model, dataset_name, dataset = _undeclared(call, request)
    projects, principal = call.platform.projects, call.principal
    project = request.project or ADHOC
    visible = {projects.shown(p.name): p for p in projects.visible(principal)}
    if request.project and request.project not in visible:
        raise not_found("project", project, hint(project, visible))
    if request.project:
        projects.changeable(principal, request.project)
    there = visible.get(project)
    if there is None:
        empty = Project(
            project=projects.qualified(principal.organization, project), owner="team:adhoc"
        )
        there = LoadedProject(CHECKOUT / "projects" / f"{project}.yaml", empty, {})
    declared = dataset or there.declaration.datasets.get(dataset_name or "")
    if dataset_name and declared is None:
        raise not_found("dataset", dataset_name, hint(dataset_name, there.declaration.datasets))
    return Wanted(there, name, model, declared)


def _undeclared(
    call: Call, request: SubmitTraining
) -> tuple[str, Model, str | None, Dataset | None]:
    """Name and declaration of the model, and of the data where it is given by its URI."""
    hyperparameters: dict[str, Any] = {}
    trainer = request.model
    if request.model.startswith(HUB):
        try:
            pretrained = resolve(request.model.removeprefix(HUB))
        except NoSuchModel as error:
            raise not_found("model on the hub", request.model, f": {error}") from error
        except HubUnavailable as error:
            raise Problem("unavailable", str(error), retry_after_s=30) from error
        trainer = HUB_TRAINER
        hyperparameters = {
            "pretrained": pretrained.repository,
            "revision": pretrained.revision,
            **HUB_HYPERPARAMETERS,
        }
    elif not is_allowed_code(trainer, call.platform.gateway):
        allowed = ", ".join(call.platform.gateway.trainer_packages)
        raise invalid(f"got {trainer!r}, expected a function of: {allowed}", "model")
    dataset_name, dataset = _data(request)
    # The name depends on the content, so that equal requests declare one model.
    identity = hashlib.sha256(repr((trainer, hyperparameters, dataset_name)).encode()).hexdigest()[
        :8
    ]
    last = re.split(r"[:./]", request.model)[-1 if request.model.startswith(HUB) else -2]
    name = f"{re.sub(r'[^a-z0-9]+', '-', last.lower()).strip('-')[:30] or 'model'}-{identity}"
    if not name[0].isalpha():
        name = f"m-{name}"
    model = Model(trainer=trainer, dataset=dataset_name, hyperparameters=hyperparameters)
    return name, model, dataset_name, dataset


def _data(request: SubmitTraining) -> tuple[str | None, Dataset | None]:
    if request.dataset is None:
        return None, None
    if not URI.match(request.dataset):
        return request.dataset, None
    source = request.dataset
    if source.startswith("s3:"):
        source = f"files:{source}"
    scheme, _, rest = source.partition(":")
    if scheme == "files" and "://" not in rest and not Path(rest).is_absolute():
        source = f"files:{CHECKOUT / rest}"
    label = request.label or ("target" if scheme == "sklearn" else None)
    try:
        dataset = Dataset(source=source, label=label)
    except ValueError as error:
        raise invalid(f"got {request.dataset!r}, expected a source: {error}", "dataset") from error
    identity = hashlib.sha256(f"{source}\0{label}".encode()).hexdigest()[:8]
    return f"{scheme}-{identity}", dataset


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
