"""Loading of declarations: YAML in, checked projects out, errors a person can act on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from projects.mistakes import Mistake, mistakes_in
from projects.nearest import hint
from projects.schema import Model, Project
from projects.suite import Suite, UnusableSuite
from projects.suite_kinds import suite_kinds
from projects.trainers import (
    TrainerUnreadable,
    hyperparameter_mistakes,
    search_mistakes,
    source_of,
)
from projects.yaml_lines import Location, UnreadableYaml, read_yaml

D = TypeVar("D", bound=BaseModel)

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

    def place(self, path: str) -> str:
        """Place of a part of the declaration, as errors name it: `file:line: path: `."""
        return f"{_Document.read(self.file).problem(path, '')}"

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
    declare the same project, or names that differ only in - and _.
    """
    problems: list[Problem] = []
    loaded: dict[str, LoadedProject] = {}
    for file in project_files(folders):
        try:
            project = load_project(file)
        except InvalidProject as error:
            problems += error.problems
            continue
        # Dagster's op names know no hyphen: jobs of a-b and a_b would be one.
        other = loaded.setdefault(project.name.replace("-", "_"), project)
        if other is not project:
            problems.append(_Document.read(file).problem("project", _clash(project.name, other)))
    if problems:
        raise InvalidProject(problems)
    return list(loaded.values())


def _clash(name: str, other: LoadedProject) -> str:
    if name == other.name:
        return f"{name!r} is declared in {other.file}"
    return f"{name!r} and {other.name!r} of {other.file} differ only in - and _"


def load_project(file: Path) -> LoadedProject:
    """The project that the file declares.

    Raises InvalidProject with file, line, path, what was got and what was expected.
    """
    document = _Document.read(file)
    project = document.validated(Project)
    suites, problems = {}, list(_trainer_problems(document, project))
    problems += _transform_problems(document, project)
    for name, simulation in project.simulations.items():
        try:
            path = f"simulations.{name}.suite"
            suites[name] = _load_suite(document, simulation.suite, path)
        except InvalidProject as error:
            problems += error.problems
            continue
        problems += _gate_problems(document, name, simulation.gate, suites[name])
        model = project.models[simulation.model]
        if fault := suites[name].misfit(model, project.datasets.get(model.dataset or "")):
            problems.append(document.problem(path, fault))
    if problems:
        raise InvalidProject(problems)
    return LoadedProject(file, project, suites)


@dataclass(frozen=True)
class _Document:
    """A file's YAML, and the line of everything in it."""

    file: Path
    value: Any
    lines: dict[Location, int]
    within: Location = ()
    """Place of the value in the file."""

    @classmethod
    def read(cls, file: Path) -> Self:
        try:
            return cls(file, *read_yaml(file))
        except UnreadableYaml as error:
            raise InvalidProject([Problem(file, error.line, "", str(error))]) from error

    def validated(self, model: type[D]) -> D:
        try:
            return model.model_validate(self.value)
        except ValidationError as error:
            mistakes = list(mistakes_in(error, model, self.value))
            raise InvalidProject([self.problem_at(*mistake) for mistake in mistakes]) from error

    def problem(self, path: str, message: str) -> Problem:
        return self.problem_at(tuple(path.split(".")), message)

    def problem_at(self, location: Location, message: str) -> Problem:
        location = (*self.within, *location)
        depths = range(len(location), -1, -1)
        line = next((self.lines[location[:d]] for d in depths if location[:d] in self.lines), 1)
        return Problem(self.file, line, ".".join(map(str, location)), message)


def _load_suite(project: _Document, suite: str | dict[str, Any], path: str) -> Suite:
    document = _suite_document(project, suite, path)
    kinds = suite_kinds()
    kind = document.value.get("kind") if isinstance(document.value, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        message = f"got {kind!r}, expected a kind of suite{hint(str(kind), kinds)}"
        raise InvalidProject([document.problem("kind", message)])
    try:
        return document.validated(kinds[kind]).resolved(project.file)
    except UnusableSuite as error:
        raise InvalidProject([project.problem(path, str(error))]) from error


def _suite_document(project: _Document, suite: str | dict[str, Any], path: str) -> _Document:
    if isinstance(suite, dict):
        return replace(project, value=suite, within=tuple(path.split(".")))
    for base in (project.file.parent, CHECKOUT):
        if _is_file(base / suite):
            return _Document.read(base / suite)
    near = [str(f.relative_to(CHECKOUT)) for f in CHECKOUT.glob("simulations/suites/*.yaml")]
    raise InvalidProject(
        [project.problem(path, f"no such suite file {suite!r}{hint(suite, near)}")]
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system
        return False


def _gate_problems(
    document: _Document, name: str, gate: dict[str, Any], suite: Suite
) -> Iterator[Problem]:
    known = suite.metrics()
    for metric in gate:
        if metric not in known:
            message = f"a {suite.kind} suite does not measure {metric!r}{hint(metric, known)}"
            yield document.problem(f"simulations.{name}.gate.{metric}", message)


def _transform_problems(document: _Document, project: Project) -> Iterator[Problem]:
    for name, dataset in project.datasets.items():
        if dataset.transform:
            try:
                source_of(dataset.transform, document.file)
            except TrainerUnreadable as error:
                yield document.problem(f"datasets.{name}.transform", str(error))


def _search_mistakes(model: Model, file: Path) -> list[Mistake]:
    if model.search is None:
        return []
    return search_mistakes(model.trainer, model.hyperparameters, model.search, file)


def _trainer_problems(document: _Document, project: Project) -> Iterator[Problem]:
    for name, model in project.models.items():
        values = model.hyperparameters
        try:
            # A request may give what is missing.
            mistakes = hyperparameter_mistakes(model.trainer, values, document.file, is_whole=False)
            searched = _search_mistakes(model, document.file)
        except TrainerUnreadable as error:
            yield document.problem(f"models.{name}.trainer", str(error))
            continue
        for location, message in mistakes:
            yield document.problem_at(("models", name, "hyperparameters", *location), message)
        for location, message in searched:
            yield document.problem_at(("models", name, *location), message)
