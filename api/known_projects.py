"""The projects that a gateway knows, loaded again when a file changes."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from projects.loading import LoadedProject
from resources.api_projects import FRESH_S, ApiProjects
from resources.declarations import Broken, Declarations
from resources.settings import Settings

_asked_at: ContextVar[float] = ContextVar("asked_at", default=float("inf"))


@contextmanager
def one_look() -> Iterator[None]:
    """A request, which looks at the files once, however often it asks what they declare: a look
    costs as much as there are files."""
    before = _asked_at.set(time.monotonic())
    try:
        yield
    finally:
        _asked_at.reset(before)


class KnownProjects:
    """Projects of the checkout and of the API, by name."""

    def __init__(self, settings: Settings, shared: ApiProjects) -> None:
        self._shared, self._declarations = shared, Declarations(settings)
        self._lock = threading.Lock()
        self._seen: str | None = None
        self._looked_at = float("-inf")
        self._projects: dict[str, LoadedProject] = {}
        self._broken: list[Broken] = []

    def all(self) -> dict[str, LoadedProject]:
        """Every usable project. Raises OSError where a bucket does not answer."""
        self._look()
        return self._projects

    def broken(self) -> list[Broken]:
        """Files that are no usable declaration."""
        self._look()
        return self._broken

    def look_again(self) -> None:
        """A file was changed just now."""
        self._looked_at = float("-inf")

    def _look(self) -> None:
        # Outside the lock, because it may wait for a bucket.
        self._shared.pull(FRESH_S)
        with self._lock:
            # A look that began after the request serves it too; without a request, none does.
            if self._looked_at >= _asked_at.get():
                return
            self._looked_at = time.monotonic()
            seen = self._declarations.fingerprint()
            if seen == self._seen:
                return
            usable = self._declarations.load()
            self._projects = {project.name: project for project in usable.projects}
            self._broken, self._seen = usable.broken, seen
