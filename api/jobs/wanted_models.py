"""The model that a request to train is about: a declared one, or a trainer or a model of the hub
that is declared on the way with its data."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.access.policy import is_allowed_code
from api.context import Call
from api.operations.jobs import SubmitTraining
from api.problems import Problem, invalid, not_found
from engine.model_hub import HubUnavailable, NoSuchModel, resolve
from projects.loading import LoadedProject
from projects.nearest import hint
from projects.schema import Dataset, Model, Project
from resources.settings import CHECKOUT

ADHOC = "adhoc"
"""Project of models that requests train without having declared them."""
HUB = "hf:"
HUB_PART = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}$")
DECLARED_PART = re.compile(r"^[a-z][a-z0-9_-]{0,47}$")
"""Names of projects and models."""
HUB_TRAINER = "training.hub:train"
WRITER = "training.language.writer:train"
TEXT_TRAINERS = {
    "text-generation": WRITER,
    "text-classification": "training.language.classifier:train",
}
"""Trainers of models of the hub, by what these are for; `HUB_TRAINER` is that of all others."""
WRITTEN = "completion"
"""Column that a language model learns to write, where a request names none."""
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
    return hub_name(model) is not None or TRAINER.fullmatch(model) is not None


def hub_name(reference: str) -> str | None:
    """`OWNER/NAME` of a model of the hub, which may be named without `hf:` where no project and
    model could have these names; None for another reference."""
    if reference.startswith(HUB):
        return reference.removeprefix(HUB)
    parts = reference.split("/")
    is_pair = len(parts) == 2 and all(HUB_PART.match(part) for part in parts)
    return reference if is_pair and not all(map(DECLARED_PART.match, parts)) else None


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


def wanted_of(call: Call, request: SubmitTraining) -> Wanted:
    """The model that the request is about. Raises `not-found`, `conflict` or `invalid`."""
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
    if (named := hub_name(request.model)) is not None:
        try:
            pretrained = resolve(named)
        except NoSuchModel as error:
            raise not_found("model on the hub", request.model, f": {error}") from error
        except HubUnavailable as error:
            raise Problem("unavailable", str(error), retry_after_s=30) from error
        trainer = TEXT_TRAINERS.get(pretrained.task or "", HUB_TRAINER)
        hyperparameters = {
            "pretrained": pretrained.repository,
            "revision": pretrained.revision,
            **HUB_HYPERPARAMETERS,
        }
    elif not is_allowed_code(trainer, call.platform.gateway):
        allowed = ", ".join(call.platform.gateway.trainer_packages)
        raise invalid(f"got {trainer!r}, expected a function of: {allowed}", "model")
    dataset_name, dataset = _data(request, is_written=trainer == WRITER)
    # The name depends on the content, so that equal requests declare one model.
    identity = hashlib.sha256(repr((trainer, hyperparameters, dataset_name)).encode()).hexdigest()[
        :8
    ]
    last = re.split(r"[:./]", request.model)[-2 if named is None else -1]
    name = f"{re.sub(r'[^a-z0-9]+', '-', last.lower()).strip('-')[:30] or 'model'}-{identity}"
    if not name[0].isalpha():
        name = f"m-{name}"
    model = Model(trainer=trainer, dataset=dataset_name, hyperparameters=hyperparameters)
    return name, model, dataset_name, dataset


def _data(request: SubmitTraining, *, is_written: bool) -> tuple[str | None, Dataset | None]:
    """Name and declaration of the data; a language model learns to write its label."""
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
    usual = WRITTEN if is_written else "target" if scheme == "sklearn" else None
    label = request.label or usual
    task = "text-generation" if is_written else None
    try:
        dataset = Dataset(source=source, label=label, task=task)
    except ValueError as error:
        raise invalid(f"got {request.dataset!r}, expected a source: {error}", "dataset") from error
    content = "\0".join(map(str, (source, label, *([task] if task else []))))
    identity = hashlib.sha256(content.encode()).hexdigest()[:8]
    return f"{scheme}-{identity}", dataset
