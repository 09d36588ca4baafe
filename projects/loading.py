"""Loading of declarations: YAML in, checked projects out, errors a person can act on."""

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from projects.nearest import hint
from projects.schema import Project, UnusableReference
from projects.suite import METRICS, SUITE, Suite
from projects.yaml_lines import Location, UnreadableYaml, read_yaml

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a declaration and where."""

    file: Path
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class InvalidProject(Exception):
    """A declaration that cannot be used; its text lists every problem, one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True)
class LoadedProject:
    """A checked declaration, its file, and the suites its simulations name."""

    file: Path
    declaration: Project
    suites: dict[str, Suite]
    """Suite by simulation name."""

    @property
    def name(self) -> str:
        """Name of the project."""
        return self.declaration.project

    @property
    def base(self) -> Path:
        """Folder that relative data paths start at: the checkout for shipped projects, else the
        folder of the project file."""
        is_shipped = self.file.parent.resolve() == CHECKOUT / "projects"
        return CHECKOUT if is_shipped else self.file.parent


def project_files(folders: Iterable[Path]) -> list[Path]:
    """Project files in the folders, in a stable order.

    Raises InvalidProject for a folder that does not exist.
    """
    files: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise InvalidProject(
                [Problem(folder, 0, "", "no such folder; expected a folder of project files")]
            )
        files += sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    return files


def load_projects(folders: Iterable[Path]) -> list[LoadedProject]:
    """Every project in the folders.

    Raises InvalidProject with the problems of all files together, also for two files that
    declare the same project.
    """
    problems: list[Problem] = []
    loaded: dict[str, LoadedProject] = {}
    for file in project_files(folders):
        try:
            project = load_project(file)
        except InvalidProject as error:
            problems += error.problems
            continue
        if project.name in loaded:
            other = loaded[project.name].file
            problems.append(Problem(file, 1, "project", f"{project.name!r} is declared in {other}"))
        loaded[project.name] = project
    if problems:
        raise InvalidProject(problems)
    return list(loaded.values())


def load_project(file: Path) -> LoadedProject:
    """The project that the file declares.

    Raises InvalidProject with file, line, path, what was got and what was expected.
    """
    project = _validated(file, Project)
    suites, problems = {}, list(_trainer_problems(file, project))
    for name, simulation in project.simulations.items():
        try:
            suites[name] = _load_suite(file, simulation.suite, f"simulations.{name}.suite")
        except InvalidProject as error:
            problems += error.problems
            continue
        problems += _gate_problems(file, name, simulation.gate, suites[name])
    if problems:
        raise InvalidProject(problems)
    return LoadedProject(file, project, suites)


def _load_suite(project_file: Path, suite: str, path: str) -> Suite:
    for base in (project_file.parent, CHECKOUT):
        if (base / suite).is_file():
            return _validated(base / suite, SUITE)
    line = _line(project_file, path)
    near = [str(f.relative_to(CHECKOUT)) for f in CHECKOUT.glob("simulations/suites/*.yaml")]
    raise InvalidProject(
        [Problem(project_file, line, path, f"no such suite file {suite!r}{hint(suite, near)}")]
    )


def _gate_problems(file: Path, name: str, gate: dict, suite: Suite) -> Iterator[Problem]:
    known = METRICS[suite.kind]
    for metric in gate:
        if metric not in known:
            path = f"simulations.{name}.gate.{metric}"
            message = f"a {suite.kind} suite does not measure {metric!r}{hint(metric, known)}"
            yield Problem(file, _line(file, path), path, message)


def _trainer_problems(file: Path, project: Project) -> Iterator[Problem]:
    for name, model in project.models.items():
        path = f"models.{name}.trainer"
        module, _, function = model.trainer.partition(":")
        functions = _functions_of(module, file.parent)
        if functions is None:
            message = f"no module {module!r} beside {file.name} or in the environment"
            yield Problem(file, _line(file, path), path, message)
        elif function not in functions:
            message = f"module {module!r} has no function {function!r}{hint(function, functions)}"
            yield Problem(file, _line(file, path), path, message)


def _functions_of(module: str, folder: Path) -> list[str] | None:
    """Names of the module's functions, read from its source: importing it may load torch."""
    with _importable(folder):
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _validated(file: Path, kind: Any) -> Any:
    try:
        value, locations = read_yaml(file)
    except UnreadableYaml as error:
        raise InvalidProject([Problem(file, error.line, "", str(error))]) from error
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        model = Project if kind is Project else None
        problems = [_problem(file, details, locations, model) for details in error.errors()]
        raise InvalidProject(problems) from error


def _problem(
    file: Path, details: ErrorDetails, locations: dict[Location, int], model: type | None
) -> Problem:
    location = tuple(part for part in details["loc"] if part != "[key]")
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, UnusableReference):
        location = tuple(cause.path.split("."))
        message = str(cause)
    elif details["type"] == "extra_forbidden":
        valid = _valid_keys(model, location[:-1]) if model else []
        message = f"unknown key{hint(str(location[-1]), valid) if valid else ''}"
    elif details["type"] == "missing":
        message = "missing, but required"
    elif cause is not None:
        message = str(cause)
    else:
        message = f"got {_short(details['input'])}, expected: {_expected(details)}"
    line = _nearest_line(locations, location)
    return Problem(file, line, ".".join(map(str, location)), message)


def _expected(details: ErrorDetails) -> str:
    return details["msg"].removeprefix("Input should be ").removeprefix("Value error, ")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _valid_keys(model: type, location: Location) -> list[str]:
    """Keys that are legal at the location, following fields, mappings and lists."""
    kind: Any = model
    for part in location:
        kind = _step_into(kind, part)
        if kind is None:
            return []
    return list(kind.model_fields) if _is_model(kind) else []


def _step_into(kind: Any, part: str | int) -> Any:
    if _is_model(kind):
        field = kind.model_fields.get(part)
        return field.annotation if field else None
    for argument in reversed(getattr(kind, "__args__", ())):
        if _is_model(argument):
            return argument
    return None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _nearest_line(locations: dict[Location, int], location: Location) -> int:
    for depth in range(len(location), -1, -1):
        if location[:depth] in locations:
            return locations[location[:depth]]
    return 1


def _line(file: Path, path: str) -> int:
    try:
        _, locations = read_yaml(file)
    except (UnreadableYaml, yaml.YAMLError):
        return 1
    return _nearest_line(locations, tuple(path.split(".")))
