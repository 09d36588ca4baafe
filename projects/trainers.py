"""Trainers by name: the source of `module:function`, read and never run."""

import ast
import importlib
import sys
from importlib.machinery import PathFinder
from importlib.util import decode_source
from pathlib import Path


class TrainerUnreadable(Exception):
    """The module of a trainer is not there, or is not Python."""


def functions_of(module: str, declaration: Path) -> list[str]:
    """Names of the functions in the module's source, which lies beside the declaration or in the
    environment.

    Raises TrainerUnreadable.
    """
    source = _source_of(module, declaration.parent)
    if source is None:
        raise TrainerUnreadable(
            f"no module {module!r} beside {declaration.name} or in the environment"
        )
    try:
        tree = ast.parse(decode_source(source.read_bytes()))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TrainerUnreadable(f"{source} cannot be read as Python: {error}") from error
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def _source_of(module: str, folder: Path) -> Path | None:
    """Found part by part: importlib.util.find_spec would run the packages on the way, and keep
    them for the next project that has one of the same name."""
    importlib.invalidate_caches()
    places, origin = [str(folder), *sys.path], None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, places)
        if spec is None:
            return None
        places, origin = list(spec.submodule_search_locations or ()), spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None
