"""Declarations as processes use them: a broken project is set aside and named, others go on.

The last good declaration of every file is kept in the state folder, and stands in while the file is
broken.

timeout, retry, cancel: local files have none.
duplicate: equal content is not written again.
partial write: a kept declaration is renamed into place; a file that is being written is broken for
    a moment, and its last good declaration stands in.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from engine.protocol import write_atomically
from projects.loading import (
    CHECKOUT,
    InvalidProject,
    LoadedProject,
    Problem,
    load_project,
    project_files,
)
from projects.schema import Project
from projects.suite_kinds import read_suite
from resources.settings import Settings

log = logging.getLogger(__name__)


class Broken(NamedTuple):
    """A file that is no usable declaration."""

    file: Path
    problems: tuple[Problem, ...]
    stand_in: LoadedProject | None
    """Its last good declaration, where there was one."""

    @property
    def name(self) -> str:
        """Name of the project, or of its file where nobody knows it."""
        return self.stand_in.name if self.stand_in else self.file.stem

    def __str__(self) -> str:
        stands = "its last good declaration is used" if self.stand_in else "it is left out"
        return f"{self.name}: {stands}: " + "; ".join(map(str, self.problems))


class Usable(NamedTuple):
    """What the folders declare."""

    projects: list[LoadedProject]
    """Whole ones, and last good declarations of broken files."""
    broken: list[Broken]


class Declarations:
    """The project files of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept = settings.state.absolute() / "declarations"

    def fingerprint(self) -> str:
        """What changes with every file that a declaration may consist of."""
        digest = hashlib.sha256()
        for file in sorted(self._watched()):
            try:
                status = file.stat()
            except OSError:
                # The file may have been removed since it was listed.
                continue
            digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def load(self) -> Usable:
        """Every project that can be used, and the files that are broken; broken ones are logged.

        Where the settings name the projects that are needed, the files of others are not read, as
        long as those can be found.
        """
        wanted = {_plain(name) for name in self._settings.only_projects.split(",") if name}
        if not wanted:
            return self._loaded(None)
        usable = self._loaded(wanted)
        missed = wanted - {_plain(project.name) for project in usable.projects}
        return self._loaded(None) if missed else usable

    def _loaded(self, wanted: set[str] | None) -> Usable:
        projects: dict[str, LoadedProject] = {}
        broken: list[Broken] = []
        for file in self._files(broken):
            if wanted is not None and not _names_any(file, wanted):
                continue
            try:
                project = load_project(file)
            except InvalidProject as error:
                broken.append(Broken(file, error.problems, self._last_good(file)))
                continue
            self._add(project, projects, broken)
        for each in broken:
            # A name that another file declares rightly is that file's.
            if each.stand_in is not None:
                projects.setdefault(_plain(each.stand_in.name), each.stand_in)
            log.warning("a declaration is broken: %s", each)
        for project in projects.values():
            self._keep(project)
        return Usable(sorted(projects.values(), key=lambda project: project.name), broken)

    def _add(
        self, project: LoadedProject, projects: dict[str, LoadedProject], broken: list[Broken]
    ) -> None:
        """Take the project; of two of one name the one goes on that was there before."""
        plain = _plain(project.name)
        other = projects.get(plain)
        if other is None:
            projects[plain] = project
            return
        newcomer, first = project, other
        if self._last_good(project.file) is not None and self._last_good(other.file) is None:
            newcomer, first = other, project
        projects[plain] = first
        message = f"{newcomer.name!r} is declared in {first.file} as {first.name!r}"
        problem = Problem(newcomer.file, 1, "project", message)
        broken.append(Broken(newcomer.file, (problem,), None))

    def _files(self, broken: list[Broken]) -> Iterator[Path]:
        for folder in self._settings.project_folders:
            try:
                yield from project_files([folder])
            except InvalidProject as error:
                broken.append(Broken(folder, error.problems, None))

    def _watched(self) -> set[Path]:
        folders = [*self._settings.project_folders, CHECKOUT / "simulations" / "suites"]
        return {
            file
            for folder in folders
            for pattern in ("*.y*ml", "*/*.y*ml", "*.py")
            for file in folder.glob(pattern)
            if not file.name.startswith(".")
        }

    def _keep(self, project: LoadedProject) -> None:
        suites = {name: suite.model_dump(mode="json") for name, suite in project.suites.items()}
        declared = project.declaration.model_dump(mode="json", exclude_unset=True)
        content = json.dumps({"declaration": declared, "suites": suites}, indent=2)
        place = self._place(project.file)
        try:
            if place.exists() and place.read_text(encoding="utf-8") == content:
                return
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, content)
        except OSError as error:
            # The declaration itself is usable; only its stand-in is missing.
            log.warning("the declaration of %s is not kept: %s", project.name, error)

    def _last_good(self, file: Path) -> LoadedProject | None:
        try:
            kept = json.loads(self._place(file).read_bytes())
            declared = Project.model_validate(kept["declaration"])
            suites = {n: read_suite(s) for n, s in kept["suites"].items()}
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            return None
        return LoadedProject(file, declared, suites)

    def _place(self, file: Path) -> Path:
        name = hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:20]
        return self._kept / f"{name}.json"


def _names_any(file: Path, wanted: set[str]) -> bool:
    """Whether the text of the file has the name of a project, in plain form, anywhere."""
    try:
        text = _plain(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return True
    return any(name in text for name in wanted)


def _plain(name: str) -> str:
    """Dagster's op names know no hyphen: jobs of a-b and a_b would be one."""
    return name.replace("-", "_")
