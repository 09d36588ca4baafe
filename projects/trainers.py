"""Trainers by name: the source of `module:function`, read and never run."""

import ast
import sys
from collections.abc import Iterable
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
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
    places, origin = [str(folder), *sys.path], None
    for part in module.split("."):
        spec = _found(part, places)
        if spec is None:
            return None
        places, origin = list(spec.submodule_search_locations or ()), spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None


def _found(part: str, places: Iterable[str]) -> ModuleSpec | None:
    """By finders of its own: those of the interpreter keep what other threads are looking for,
    and know nothing of a file that has just been written."""
    namespace = ModuleSpec(part, None, is_package=True)
    portions = []
    for place in places:
        spec = FileFinder(place, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(part)
        if spec and spec.loader:
            return spec
        portions += (spec and spec.submodule_search_locations) or ()
    namespace.submodule_search_locations = portions
    return namespace if portions else None
