"""Submitting a past job again: the request that would take it, made of its spec, with changes.

The values are those that the job had (hyperparameters, seed, resources, versions), also where the
declaration has changed since. Code is that of now, and so is what the job's spec does not name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from api.context import Call
from api.handlers import datasets, inference, simulation
from api.handlers.jobs import found_job, submit
from api.jobs.wanted_models import find_model
from api.operations import datasets as dataset_operations
from api.operations import inference as service_operations
from api.operations import jobs as job_operations
from api.operations import simulation as simulation_operations
from api.operations.operation import Input, Operation
from api.operations.resubmission import ResubmitJob
from api.problems import FieldError, Problem
from projects.mistakes import located
from projects.nearest import hint
from projects.placement import Resources
from projects.schema import Model
from scheduler.jobs import Job
from scheduler.states import Kind

ALWAYS = ("max_seconds", "callback")


@dataclass(frozen=True)
class _Repeating:
    """How jobs of one kind are submitted again."""

    operation: Operation
    """The operation that takes jobs of the kind."""
    changeable: tuple[str, ...]
    """Fields of its input that may be changed, beyond `ALWAYS`."""
    values: Callable[[Call, Job], dict[str, Any]]
    """Fields of its input, as the job had them."""
    take: Callable[[Call, Job, Any], job_operations.Job]


def resubmit(call: Call, request: ResubmitJob) -> job_operations.Job:
    """Take a job like the past one, with changes."""
    past = found_job(call, request.id)
    repeating = _KINDS[past.kind]
    needed = repeating.operation.permission
    if needed is not None and not call.principal.may(needed):
        text = f"role {call.principal.role} does not have the right to {needed}"
        raise Problem("forbidden", text)
    kept = {"max_seconds": past.spec.get("max_seconds"), "callback": past.callback}
    values = {k: v for k, v in kept.items() if v is not None} | repeating.values(call, past)
    asked = _validated(repeating, _changed(values, request.set, repeating))
    return repeating.take(replace(call, repeats=past.id), past, asked)


def _changed(
    values: Mapping[str, Any], changes: Mapping[str, Any], repeating: _Repeating
) -> dict[str, Any]:
    """The values with the changes. Raises the problem `invalid` for a field that may not be."""
    changed = dict(values)
    known = [*repeating.changeable, *ALWAYS]
    errors = []
    for place, value in changes.items():
        # What follows the first dot is one name: those of hyperparameters may have dots.
        field, dot, name = place.partition(".")
        if field not in known:
            near = hint(field, known)
            text = f"a job of this kind is not submitted again with another {field!r}{near}"
            errors.append(FieldError(field=f"set.{place}", message=text))
            continue
        changed[field] = _merged(changed.get(field), {name: value} if dot else value)
    if errors:
        raise Problem("invalid", "the changes do not fit the job", errors=errors)
    return changed


def _merged(there: Any, given: Any) -> Any:
    """What is given; of two mappings, what is there with what is given in it."""
    is_part = isinstance(there, Mapping) and isinstance(given, Mapping)
    return {**there, **given} if is_part else given


def _validated(repeating: _Repeating, values: dict[str, Any]) -> Input:
    try:
        return repeating.operation.input.model_validate(values)
    except ValidationError as error:
        errors = [
            FieldError(field=f"set.{'.'.join(map(str, place))}", message=detail["msg"])
            for place, detail in located(error.errors(), values)
        ]
        raise Problem("invalid", "the changes do not fit the job", errors=errors) from error


def _training(call: Call, past: Job) -> dict[str, Any]:
    reference = f"{past.spec['project']}/{past.spec['model']}"
    project, name = find_model(call, reference, None)
    declared = project.declaration.models[name].hyperparameters
    had: dict[str, Any] = past.spec["hyperparameters"]
    # A declared value may name code or files that requests may not, so it is not sent again.
    differing = {k: v for k, v in had.items() if k not in declared or declared[k] != v}
    version = (past.spec.get("dataset") or {}).get("version") or past.result.get("dataset_version")
    return {
        "model": reference,
        "hyperparameters": differing,
        "seed": past.spec.get("seed"),
        "dataset_version": version,
        "search": _search(past, project.declaration.models[name]),
        "resources": {},
    }


def _search(past: Job, declared: Model) -> dict[str, Any] | Literal[False] | None:
    """The search that the job had; None where the declared one is the same."""
    had = past.spec.get("search")
    same = (
        declared.search.model_dump(mode="json", exclude_defaults=True) if declared.search else None
    )
    return None if "search" not in past.spec or had == same else had or False


def _train(call: Call, past: Job, request: job_operations.SubmitTraining) -> job_operations.Job:
    had = past.spec.get("resources") or {}
    known = {k: v for k, v in had.items() if k in Resources.model_fields}
    return submit(call, request, Resources.model_validate(known) if known else None)


def _simulation(call: Call, past: Job) -> dict[str, Any]:
    return {
        "id": f"{past.spec['project']}.{past.spec['simulation']}",
        "model_version": past.spec["model_version"],
    }


def _deployment(call: Call, past: Job) -> dict[str, Any]:
    project = call.platform.projects.find(call.principal, past.spec["project"])
    values = {
        "project": past.spec["project"],
        "name": past.spec["service"],
        "model_version": past.spec["model_version"],
    }
    there = project.declaration.services.get(past.spec["service"])
    if there is None:
        return values | {name: past.spec[name] for name in ("model", "rollout", "scale")}
    # What is declared now stays, so that changes alone change it.
    return values | {"rollout": there.rollout.model_dump(), "scale": there.scale.model_dump()}


def _making(call: Call, past: Job) -> dict[str, Any]:
    return {"project": past.spec["project"], "dataset": past.spec["dataset"]}


_KINDS: Mapping[Kind, _Repeating] = {
    "train": _Repeating(
        job_operations.SUBMIT,
        ("hyperparameters", "search", "seed", "resources", "dataset_version"),
        _training,
        _train,
    ),
    "simulate": _Repeating(
        simulation_operations.START,
        ("model_version",),
        _simulation,
        lambda call, _, request: simulation.start(call, request),
    ),
    "deploy": _Repeating(
        service_operations.DEPLOY,
        ("model_version", "rollout", "scale"),
        _deployment,
        lambda call, _, request: inference.deploy(call, request),
    ),
    "make": _Repeating(
        dataset_operations.DATASETS_MAKE,
        (),
        _making,
        lambda call, _, request: datasets.make(call, request),
    ),
}
