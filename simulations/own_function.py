"""Functions of a project that a suite names as `module:function`."""

import hashlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints

from engine.protocol import Refused
from projects.suite import UnusableSuite
from projects.trainers import TrainerUnreadable, source_of

FunctionPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


def digest_of(path: str, declaration: Path, field: str) -> str:
    """SHA-256 of the module of the function that the field of a suite names, beside the declaration
    or in the environment. Raises UnusableSuite."""
    try:
        return hashlib.sha256(source_of(path, declaration)).hexdigest()
    except TrainerUnreadable as error:
        raise UnusableSuite(f"{field}: {error}") from error


def imported(path: str, folders: tuple[str, ...]) -> Callable[..., Any]:
    """The function, whose module may lie in one of the folders. Raises Refused."""
    module, _, name = path.partition(":")
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Refused(f"the function {path!r} cannot be imported: {error}") from error


def judgement(path: str, judge: Callable[..., Any], place: str, *given: Any) -> float:
    """What the judging function of that path says, from 0 to 1, of what lies at the place. Raises
    Refused."""
    try:
        judged = float(judge(*given))
    # A function of others may raise anything.
    except Exception as error:
        raise Refused(f"{path} failed at {place}: {type(error).__name__}: {error}") from error
    if not 0 <= judged <= 1:
        raise Refused(f"{path} returned {judged:g} for {place}, expected a number from 0 to 1")
    return judged
