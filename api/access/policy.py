"""What a declaration that arrives in a request may name: deny unless allowed.

Files of the checkout are written by people who can run code here anyway. A request is not: it may
name only trainers of allowed packages, and data below allowed places.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from api.problems import FieldError, Problem
from api.settings import GatewaySettings
from projects.finished_model import ELSEWHERE, FINISHED, NAMED_MODELS, pretrained_path
from projects.schema import Project
from projects.search import Search
from projects.suite import Suite
from projects.suite_kinds import read_suite

HARMLESS = ("NCCL_", "OMP_", "TOKENIZERS_", "CUDA_VISIBLE_DEVICES", "TORCH_LOGS")
"""Beginnings of variables that change how fast code runs, and not what code."""
SHIPPED_SUITES = "simulations/suites"
CODE = r"(?!hf:)[A-Za-z_][\w.]*:[A-Za-z_][\w.-]*"
"""What trainers may import: `module:name`; `hf:NAME` is a model of a hub."""


def refuse_what_requests_may_not(project: Project, gateway: GatewaySettings) -> None:
    """Return when the request may declare all of it; raises the problem `invalid`.

    To be asked before a single file that the declaration names is opened.
    """
    errors = [
        *_trainers(project, gateway),
        *_sources(project, gateway),
        *_suites(project, gateway),
        *_placements(project, gateway),
    ]
    if errors:
        raise Problem(
            "invalid",
            "the declaration names what requests may not use",
            todo="Ask an operator to allow it (ORRERY_TRAINERS, ORRERY_DATA_ROOTS, ORRERY_IMAGES).",
            errors=errors,
        )


def _trainers(project: Project, gateway: GatewaySettings) -> Iterator[FieldError]:
    for name, model in project.models.items():
        if not is_allowed_code(model.trainer, gateway):
            allowed = ", ".join(gateway.trainer_packages)
            message = f"got {model.trainer!r}, expected a function of: {allowed}"
            yield FieldError(field=f"models.{name}.trainer", message=message)
        yield from hyperparameter_errors(
            model.trainer, model.hyperparameters, f"models.{name}.hyperparameters", gateway
        )
        if model.search:
            yield from search_errors(model.trainer, model.search, f"models.{name}.search", gateway)


def hyperparameter_errors(
    trainer: str, values: Mapping[str, Any], field: str, gateway: GatewaySettings
) -> Iterator[FieldError]:
    """Code and files that hyperparameters name, such as an environment `module:make` or a
    pretrained model's folder, and a request may not."""
    for name, value in values.items():
        if is_place(trainer, name, value) and not is_allowed_place(value, gateway):
            allowed = ", ".join(gateway.allowed_roots)
            message = f"got {value!r}, expected an absolute place below: {allowed}"
            yield FieldError(field=f"{field}.{name}", message=message)
        is_code = isinstance(value, str) and re.fullmatch(CODE, value)
        if is_code and not is_allowed_code(value, gateway):
            allowed = ", ".join(gateway.trainer_packages)
            message = f"got {value!r}, expected a function of: {allowed}"
            yield FieldError(field=f"{field}.{name}", message=message)


def search_errors(
    trainer: str, search: Search, field: str, gateway: GatewaySettings
) -> Iterator[FieldError]:
    """Code and files that trials may be given, and a request may not name."""
    for name, each in search.over.items():
        for value in each.ends:
            yield from hyperparameter_errors(trainer, {name: value}, f"{field}.over", gateway)


def is_place(trainer: str, name: str, value: Any) -> bool:
    """Whether a shipped trainer reads the hyperparameter as a file, a folder or a bucket."""
    if not isinstance(value, str) or name != NAMED_MODELS.get(trainer):
        return False
    if trainer == FINISHED:
        return value.startswith("s3://") or not value.startswith(ELSEWHERE)
    return value.startswith("s3://") or pretrained_path(value, Path()) is not None


def is_allowed_code(function: str, gateway: GatewaySettings) -> bool:
    """Whether a request may name the function."""
    module = function.partition(":")[0]
    return any(
        module == allowed or module.startswith(f"{allowed}.")
        for allowed in gateway.trainer_packages
    )


def _sources(project: Project, gateway: GatewaySettings) -> Iterator[FieldError]:
    for name, dataset in project.datasets.items():
        scheme, _, rest = dataset.source.partition(":")
        if scheme == "sql":
            message = "SQL can read any file of the server; only files of the checkout may use it"
            yield FieldError(field=f"datasets.{name}.source", message=message)
        if dataset.transform and not is_allowed_code(dataset.transform, gateway):
            allowed = ", ".join(gateway.trainer_packages)
            message = f"got {dataset.transform!r}, expected a function of: {allowed}"
            yield FieldError(field=f"datasets.{name}.transform", message=message)
        places = [("source", rest)] if scheme in ("files", "images") else []
        places += [("watch", dataset.watch)] if dataset.watch else []
        for field, place in places:
            if not is_allowed_place(place, gateway):
                allowed = ", ".join(gateway.allowed_roots)
                message = f"got {place!r}, expected an absolute place below: {allowed}"
                yield FieldError(field=f"datasets.{name}.{field}", message=message)


def is_allowed_place(place: str, gateway: GatewaySettings) -> bool:
    """Whether a request may have the file, folder or bucket read."""
    if "://" in place:
        # The slash keeps the root `s3://data` from allowing `s3://data-of-others`.
        roots = [root.rstrip("/") + "/" for root in gateway.allowed_roots if "://" in root]
        return ".." not in place and any(place.startswith(root) for root in roots)
    if not Path(place).is_absolute():
        return False
    # Resolved, so that neither `..` nor a symbolic link leads out of the allowed folders.
    path = Path(place).resolve()
    roots = [Path(root).resolve() for root in gateway.allowed_roots if "://" not in root]
    return any(path.is_relative_to(root) for root in roots)


def _placements(project: Project, gateway: GatewaySettings) -> Iterator[FieldError]:
    """An image is code, and so are variables such as LD_PRELOAD and PYTHONPATH."""
    for family in ("models", "simulations", "services"):
        for name, part in getattr(project, family).items():
            image, field = part.placement.image, f"{family}.{name}.placement"
            if image is not None and not is_allowed_image(image, gateway):
                allowed = ", ".join(gateway.allowed_images) or "none: requests may name no image"
                message = f"got {image!r}, expected an image that begins with: {allowed}"
                yield FieldError(field=f"{field}.image", message=message)
            for variable in part.placement.env_vars:
                if not variable.startswith(HARMLESS):
                    message = f"got {variable!r}, expected a name that begins with {HARMLESS}"
                    yield FieldError(field=f"{field}.env_vars", message=message)


def is_allowed_image(image: str, gateway: GatewaySettings) -> bool:
    """Whether a request may have the image run; a prefix ends where a part of the name ends."""
    return any(
        image == allowed or image.startswith((f"{allowed.rstrip('/')}/", f"{allowed}:"))
        for allowed in gateway.allowed_images
    )


def _suites(project: Project, gateway: GatewaySettings) -> Iterator[FieldError]:
    for name, simulation in project.simulations.items():
        field, suite = f"simulations.{name}.suite", simulation.suite
        if isinstance(suite, dict):
            with contextlib.suppress(KeyError, TypeError, ValidationError):
                # A suite that cannot be read is refused where the declaration is.
                yield from suite_errors(read_suite(suite), field, gateway)
            continue
        shipped = Path(suite).parent.as_posix() == SHIPPED_SUITES
        own = suite == f"suites/{project.project}.{name}.yaml"
        if not shipped and not own:
            message = f"got {suite!r}, expected a file of {SHIPPED_SUITES}"
            yield FieldError(field=field, message=message)


def suite_errors(suite: Suite, field: str, gateway: GatewaySettings) -> Iterator[FieldError]:
    """What the suite runs and a request may not name."""
    for function in suite.code():
        if not is_allowed_code(function, gateway):
            allowed = ", ".join(gateway.trainer_packages)
            message = f"got {function!r}, expected a function of: {allowed}"
            yield FieldError(field=field, message=message)
