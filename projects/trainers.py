"""Trainers by name: the source of `module:function`, read and never run.

A trainer declares its hyperparameters by a class in its module: `Hyperparameters` for each
function, or one of its own, as `TrainFastHyperparameters` for `train_fast`.
"""

import ast
import contextlib
import functools
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import decode_source
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from projects.hyperparameter_class import Written, mistakes_of, read_class
from projects.mistakes import MISSING, Mistake
from projects.nearest import hint
from projects.search import Search

CLASS = "Hyperparameters"
# Modules may import a name from each other in a circle.
FARTHEST = 8
"""Modules that a name is followed through."""
PARSES = 5
_PARSING = threading.Lock()


class TrainerUnreadable(Exception):
    """The trainer is not there, or its module is not Python."""


class UnusableHyperparameters(Exception):
    """Hyperparameters that the trainer does not take."""

    def __init__(self, trainer: str, mistakes: list[Mistake]) -> None:
        self.fields = {".".join(map(str, location)): message for location, message in mistakes}
        text = "; ".join(f"{field}: {message}" for field, message in self.fields.items())
        super().__init__(f"{trainer} does not take this: {text}")


class Trainer(NamedTuple):
    """A trainer that can be found."""

    hyperparameters: type[BaseModel] | None
    """What it declares; None where it declares nothing, and takes any."""


def read_trainer(trainer: str, declaration: Path) -> Trainer:
    """The trainer `module:function`, whose module lies beside the declaration or in the
    environment.

    Raises TrainerUnreadable.
    """
    module, _, function = trainer.partition(":")
    source = _Source.read(module, declaration)
    names = source.names
    # A star import may provide the function, which only running the module would tell.
    if function not in names and "*" not in names:
        raise TrainerUnreadable(
            f"module {module!r} has no function {function!r}{hint(function, source.functions)}"
        )
    declaring = source.declaring_class(function)
    return Trainer(read_class(declaring) if declaring else None)


def source_file(module: str, declaration: Path) -> Path:
    """The file of the module, beside the declaration or in the environment.

    Raises TrainerUnreadable.
    """
    return _file_of(module, declaration)


def source_of(function: str, declaration: Path) -> bytes:
    """Source of the module of `module:function`, which lies beside the declaration or in the
    environment, and has such a function.

    Raises TrainerUnreadable.
    """
    read_trainer(function, declaration)
    return source_file(function.partition(":")[0], declaration).read_bytes()


def hyperparameter_mistakes(
    trainer: str, values: Mapping[str, Any], declaration: Path, *, is_whole: bool
) -> list[Mistake]:
    """What the trainer does not take; nothing where it declares nothing.

    Values that are not whole may be completed later, so none is missed. Raises TrainerUnreadable.
    """
    declared = read_trainer(trainer, declaration).hyperparameters
    mistakes = mistakes_of(declared, values) if declared else ()
    return [mistake for mistake in mistakes if is_whole or mistake.message != MISSING]


def search_mistakes(
    trainer: str, values: Mapping[str, Any], search: Search, declaration: Path
) -> list[Mistake]:
    """Ranges with an end that the trainer does not take, at their places within the model.

    Raises TrainerUnreadable.
    """
    declared = read_trainer(trainer, declaration).hyperparameters
    found: list[Mistake] = []
    if declared is None:
        return found
    for name, each in search.over.items():
        for end in each.ends:
            mistakes = mistakes_of(declared, {**values, name: end})
            own = [m for m in mistakes if m.location[:1] == (name,)]
            if own:
                place = ("search", "over", name, each.kind)
                found.append(Mistake(place, own[0].message))
                break
    return found


def require_hyperparameters(
    trainer: str, values: Mapping[str, Any], declaration: Path, search: Search | None = None
) -> None:
    """Raises UnusableHyperparameters, or TrainerUnreadable, unless a job may begin with them."""
    given = {**search.first_values, **values} if search else values
    mistakes = [
        Mistake(("hyperparameters", *location), message)
        for location, message in hyperparameter_mistakes(trainer, given, declaration, is_whole=True)
        if search is None or location[:1] not in {(name,) for name in search.over}
    ]
    if search:
        mistakes += search_mistakes(trainer, values, search, declaration)
    if mistakes:
        raise UnusableHyperparameters(trainer, mistakes)


class _Source(NamedTuple):
    """The statements of a module."""

    module: str
    declaration: Path
    body: list[ast.stmt]

    @classmethod
    def read(cls, module: str, declaration: Path) -> "_Source":
        """Raises TrainerUnreadable."""
        file = _file_of(module, declaration)
        try:
            tree = _parsed(file.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise TrainerUnreadable(f"{file} cannot be read as Python: {error}") from error
        return cls(module, declaration, list(_statements(tree.body)))

    @property
    def functions(self) -> list[str]:
        return [line.name for line in self.body if isinstance(line, ast.FunctionDef)]

    @property
    def names(self) -> set[str]:
        """Whatever may be called: functions, classes, what is imported and what is assigned."""
        names: set[str] = set()
        for line in self.body:
            if isinstance(line, (ast.FunctionDef, ast.ClassDef)):
                names.add(line.name)
            elif isinstance(line, ast.ImportFrom):
                names |= {alias.asname or alias.name for alias in line.names}
            elif isinstance(line, ast.Assign):
                names |= {target.id for target in line.targets if isinstance(target, ast.Name)}
        return names

    def declaring_class(self, function: str) -> Written | None:
        """The class with the hyperparameters of the function."""
        if function not in self.functions and (there := self._imported(function)):
            source, name = there
            return source.declaring_class(name)
        own = "".join(part.title() for part in function.split("_")) + CLASS
        return self.class_of(own) or self.class_of(CLASS)

    def class_of(self, name: str, depth: int = 0) -> Written | None:
        """The class of that name, here or where it is imported from."""
        module, _, last = name.rpartition(".")
        for line in self.body:
            if isinstance(line, ast.ClassDef) and line.name == name:
                return Written(line, self.class_of)
        if depth == FARTHEST:
            return None
        if not module:
            there = self._imported(name)
            return there[0].class_of(there[1], depth + 1) if there else None
        source = self._module(module)
        return source.class_of(last, depth + 1) if source else None

    def _imported(self, name: str) -> tuple["_Source", str] | None:
        """The module that the name is imported from, and its name there."""
        for line in self.body:
            if not isinstance(line, ast.ImportFrom):
                continue
            for alias in line.names:
                if (alias.asname or alias.name) == name:
                    source = self._opened(self._origin(line))
                    return (source, alias.name) if source else None
        return None

    def _module(self, name: str) -> "_Source | None":
        """The module that goes by the name here."""
        for line in self.body:
            if not isinstance(line, (ast.Import, ast.ImportFrom)):
                continue
            outer = f"{self._origin(line)}." if isinstance(line, ast.ImportFrom) else ""
            for alias in line.names:
                if (alias.asname or alias.name) == name:
                    return self._opened(f"{outer}{alias.name}")
        return None

    def _origin(self, line: ast.ImportFrom) -> str:
        parts = self.module.split(".")[: -line.level] if line.level else []
        return ".".join([*parts, *filter(None, [line.module])])

    def _opened(self, module: str) -> "_Source | None":
        try:
            return _Source.read(module, self.declaration)
        except TrainerUnreadable:
            return None


# Cached by content, so that a changed file is parsed again.
@functools.lru_cache(maxsize=256)
def _parsed(source: bytes) -> ast.Module:
    """The module; raises as ast.parse does."""
    # CPython 3.11 counts the depth of all threads' trees in one number, and raises SystemError
    # where two threads build trees at once.
    with _PARSING:
        # Other libraries parse without this lock, so a parse that fails this way is repeated.
        for _ in range(PARSES - 1):
            with contextlib.suppress(SystemError):
                return ast.parse(decode_source(source))
        return ast.parse(decode_source(source))


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module's top level, those under `if` and `try` included."""
    for line in body:
        yield line
        if isinstance(line, ast.If):
            yield from _statements([*line.body, *line.orelse])
        elif isinstance(line, ast.Try):
            inner = [*line.body, *(s for h in line.handlers for s in h.body), *line.orelse]
            yield from _statements(inner)


def _file_of(module: str, declaration: Path) -> Path:
    """The source file that the engine will import. Raises TrainerUnreadable."""
    folder = declaration.parent
    beside = _source_of(module, [str(folder)])
    elsewhere = [place for place in sys.path if Path(place or ".").resolve() != folder.resolve()]
    first = module.partition(".")[0]
    if beside is None:
        source = _source_of(module, elsewhere)
        if source is None:
            raise TrainerUnreadable(
                f"no module {module!r} beside {declaration.name} or in the environment"
            )
        return source
    other = _module_spec(first, elsewhere)
    if first in sys.stdlib_module_names or (other and other.loader):
        raise TrainerUnreadable(
            f"{first!r} beside {declaration.name} has the name of a module of Python or of the "
            f"environment, which the engine imports in its place; rename the file, for example to "
            f"{declaration.stem.replace('-', '_')}_{first}.py"
        )
    return beside


def _source_of(module: str, places: list[str]) -> Path | None:
    """Found part by part: importlib.util.find_spec would run the packages on the way, and keep
    them for the next project that has one of the same name."""
    origin = None
    for part in module.split("."):
        spec = _module_spec(part, places)
        if spec is None:
            return None
        places, origin = list(spec.submodule_search_locations or ()), spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None


def _module_spec(part: str, places: Iterable[str]) -> ModuleSpec | None:
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
