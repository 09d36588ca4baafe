"""Declared projects as an organization sees them, and the ones it declares through the API.

Dagster and MLflow know one space of names. A project of the first organization has its own name
there; one of another organization `acme` is called `acme--name`, so that equal names never meet
and nobody learns from a refusal what others have.
"""

import contextlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accounts.principal import Principal
from api.access.policy import refuse_what_requests_may_not
from api.declaration_text import as_yaml, validated
from api.etags import etag_of, require_match
from api.known_projects import KnownProjects
from api.problems import FieldError, Problem, invalid, not_found
from api.settings import GatewaySettings
from engine import lease
from engine.bucket import ChangedMeanwhile
from projects.loading import InvalidProject, LoadedProject, load_project
from projects.nearest import hint
from projects.schema import Model, Service, Simulation
from projects.yaml_lines import UnreadableYaml, read_yaml
from resources.api_projects import ApiProjects
from resources.declarations import Broken, Usable
from resources.settings import Settings

BETWEEN = "--"


class _Checked(Exception):
    """A change was validated, and nothing more was wanted."""


DOUBLED = re.compile(r"[-_]{2}")
"""Reserved: Dagster takes - and _ for one letter, and `--` ends an organization's name."""


class DeclaredProjects:
    """Projects of the checkout and of the API, loaded again when a file changes."""

    def __init__(self, settings: Settings, gateway: GatewaySettings, first: str) -> None:
        self._settings, self._gateway, self._first = settings, gateway, first
        self._shared = ApiProjects(settings)
        self._known = KnownProjects(settings, self._shared)

    def qualified(self, organization: str, project: str) -> str:
        """Name of the project in Dagster and MLflow."""
        return project if organization == self._first else f"{organization}{BETWEEN}{project}"

    def shown(self, qualified: str) -> str:
        """Name of the project within its organization."""
        return qualified.rpartition(BETWEEN)[2]

    def organization_of(self, qualified: str) -> str:
        """Organization that owns the project of this name in Dagster and MLflow."""
        return qualified.rpartition(BETWEEN)[0] or self._first

    def visible(self, principal: Principal) -> list[LoadedProject]:
        """Projects that the caller may see, by name."""
        projects = [
            project
            for name, project in self._known.all().items()
            if self.organization_of(name) == principal.organization
            and principal.may_see(self.shown(name))
        ]
        return sorted(projects, key=lambda project: project.name)

    def find(self, principal: Principal, name: str) -> LoadedProject:
        """The project. Raises the problem `not-found`, also for another organization's."""
        visible = self.visible(principal)
        for project in visible:
            if self.shown(project.name) == name:
                return project
        raise not_found("project", name, hint(name, [self.shown(p.name) for p in visible]))

    def by_name(self, qualified: str) -> LoadedProject | None:
        """The project of this name in Dagster, of any organization."""
        return self._known.all().get(qualified)

    def model(self, principal: Principal, project: str, name: str) -> tuple[LoadedProject, Model]:
        """A declared model. Raises the problem `not-found`."""
        loaded = self.find(principal, project)
        return loaded, _part(loaded.declaration.models, "model", name)

    def simulation(self, principal: Principal, id: str) -> tuple[LoadedProject, str, Simulation]:
        """Project, name and declaration of `project.simulation`; raises `not-found`."""
        project, _, name = id.partition(".")
        loaded = self.find(principal, project)
        return loaded, name, _part(loaded.declaration.simulations, "simulation", name)

    def service(self, principal: Principal, id: str) -> tuple[LoadedProject, str, Service]:
        """Project, name and declaration of `project.service`; raises `not-found`."""
        project, _, name = id.partition(".")
        loaded = self.find(principal, project)
        return loaded, name, _part(loaded.declaration.services, "service", name)

    def is_of_api(self, project: LoadedProject) -> bool:
        """Whether the API created it, and so may change it."""
        return project.file.parent == self._settings.api_projects

    def create(
        self,
        principal: Principal,
        declaration: dict[str, Any] | str,
        begin_change: Callable[[], None] = lambda: None,
    ) -> LoadedProject:
        """The new project, in its file; `begin_change` is called once everything is validated.

        Raises the problems `invalid` and `conflict`.
        """
        document = self._document(declaration)
        name = document.get("project")
        if not isinstance(name, str) or DOUBLED.search(name):
            raise invalid(f"got project {name!r:.80}, expected a name without `--`", "project")
        if not principal.may_see(name):
            raise Problem("forbidden", f"this key reaches only {sorted(principal.projects or ())}")
        with self._alone():
            return self._write(principal, document, name, begin_change, is_new=True)

    def replace(
        self,
        principal: Principal,
        name: str,
        declaration: dict[str, Any] | str,
        etag: str | None,
        begin_change: Callable[[], None] = lambda: None,
    ) -> LoadedProject:
        """The changed project; raises `not-found`, `conflict`, `invalid`, `precondition-failed`."""
        document = self._document(declaration)
        if document.get("project") != name:
            raise invalid(f"got project {document.get('project')!r}, expected {name!r}", "project")
        with self._alone():
            self.require_unchanged(self.changeable(principal, name), etag)
            return self._write(principal, document, name, begin_change, is_new=False)

    def edit(
        self,
        principal: Principal,
        name: str,
        path: tuple[str, str],
        part: Any,
        begin_change: Callable[[], None] = lambda: None,
    ) -> LoadedProject:
        """The project with one part put in, or taken out where it is None; raises as `replace`."""
        family, key = path
        with self._alone():
            project = self.changeable(principal, name)
            document, _ = read_yaml(project.file)
            # The file has the qualified name, which `_write` would qualify again.
            document["project"] = name
            parts = document.setdefault(family, {})
            if part is None:
                parts.pop(key, None)
            else:
                parts[key] = part
            return self._write(principal, document, name, begin_change, is_new=False)

    def check_edit(self, principal: Principal, name: str, path: tuple[str, str], part: Any) -> None:
        """Return when `edit` would be carried out; raises as `edit`, and changes nothing."""

        def end() -> None:
            raise _Checked

        with contextlib.suppress(_Checked):
            self.edit(principal, name, path, part, end)

    def delete(self, principal: Principal, name: str) -> None:
        """Take the project's file away; raises `not-found` or `conflict`."""
        with self._alone():
            self._shared.delete(self.changeable(principal, name).file.name)
            self._known.look_again()

    def changeable(self, principal: Principal, name: str) -> LoadedProject:
        """The project, if the API may change it; raises `not-found` or `conflict`."""
        project = self.find(principal, name)
        if not self.is_of_api(project):
            raise Problem(
                "conflict",
                f"project {name!r} is declared in the file {project.file.name} of the checkout",
                todo="Change that file; the API changes projects that were created through it.",
            )
        return project

    def require_unchanged(self, project: LoadedProject, etag: str | None) -> None:
        """Return when the project is as it was read; raises `precondition-failed`."""
        require_match(etag, self.etag(project))

    def etag(self, project: LoadedProject) -> str:
        """Identity of the project's file as it is; raises `not-found` for one just taken away."""
        try:
            return etag_of(project.file.read_bytes())
        except FileNotFoundError:
            self._known.look_again()
            raise not_found("project", self.shown(project.name)) from None

    @property
    def broken(self) -> list[Broken]:
        """Files that are no usable declaration."""
        return self._known.broken()

    def broken_for(self, principal: Principal) -> list[Broken]:
        """Broken projects of the caller's organization; those whose name nobody knows are the
        first one's."""
        return [
            broken
            for broken in self.broken
            if self.organization_of(broken.name) == principal.organization
            and principal.may_see(self.shown(broken.name))
        ]

    def usable(self) -> Usable:
        """Everything that is declared, of all organizations."""
        self._known.look_again()
        return Usable(list(self._known.all().values()), self._known.broken())

    def _document(self, declaration: dict[str, Any] | str) -> dict[str, Any]:
        if isinstance(declaration, str):
            declaration = self._read(declaration)
        if not isinstance(declaration, dict):
            raise invalid("expected a declaration: a mapping", "declaration")
        return dict(declaration)

    def _read(self, text: str) -> Any:
        draft = self._draft()
        try:
            draft.write_text(text, encoding="utf-8")
            return read_yaml(draft)[0]
        except UnreadableYaml as error:
            raise invalid(f"line {error.line}: {error}", "declaration") from error
        except UnicodeEncodeError as error:
            raise invalid("the text is not Unicode", "declaration") from error
        finally:
            draft.unlink(missing_ok=True)

    def _write(
        self,
        principal: Principal,
        document: dict[str, Any],
        name: str,
        begin_change: Callable[[], None],
        *,
        is_new: bool,
    ) -> LoadedProject:
        qualified = self.qualified(principal.organization, name)
        declared = {**document, "project": qualified}
        try:
            checked = validated(declared)
            # Before `_load`, which opens the files that the declaration names.
            refuse_what_requests_may_not(checked, self._gateway)
            text = as_yaml(declared)
            self._refuse_clash(qualified, name, is_new=is_new)
            self._load(text)
        except InvalidProject as error:
            problems = [
                FieldError(field=p.path, message=p.message.replace(qualified, name))
                for p in error.problems
            ]
            text = f"the declaration of {name!r} has {len(problems)} mistakes"
            raise Problem("invalid", text, errors=problems) from error
        begin_change()
        self._shared.put(f"{qualified}.yaml", text)
        self._known.look_again()
        return self.find(principal, name)

    def _load(self, text: str) -> None:
        """Return when the text is a declaration that loads. Raises InvalidProject."""
        draft = self._draft()
        try:
            draft.write_text(text, encoding="utf-8")
            load_project(draft)
        finally:
            draft.unlink(missing_ok=True)

    def _refuse_clash(self, qualified: str, name: str, *, is_new: bool) -> None:
        plain = qualified.replace("-", "_")
        for other in self._known.all():
            if other.replace("-", "_") == plain and (is_new or other != qualified):
                raise Problem(
                    "conflict",
                    f"a project {self.shown(other)!r} exists already, and {name!r} would share "
                    "its names in Dagster",
                    todo="Choose another name, or change the project with PUT.",
                )

    def _draft(self) -> Path:
        self._settings.api_projects.mkdir(parents=True, exist_ok=True)
        return self._settings.api_projects / f".{os.getpid()}.{uuid.uuid4().hex}.draft"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Alone on this machine; who changes the project on another is told apart by the bucket."""
        with lease.alone(self._settings.api_projects / ".lock"):
            self._shared.pull()
            self._known.look_again()
            try:
                yield
            except ChangedMeanwhile as error:
                raise Problem(
                    "conflict",
                    "another gateway changed the project meanwhile",
                    todo="Read the project again, and repeat the change.",
                ) from error


def _part(parts: dict[str, Any], kind: str, name: str) -> Any:
    if name not in parts:
        raise not_found(kind, name, hint(name, parts))
    return parts[name]
