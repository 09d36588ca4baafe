"""Performing an operation: may they, do it, and say what went wrong in the API's words."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool

from accounts import audit
from accounts.roles import ACTIONS, Permission
from api.context import Call, Platform
from api.jobs.idempotency import once
from api.known_projects import one_look
from api.operations.jobs import JobId
from api.operations.operation import Input, Operation, Output
from api.problems import Problem
from projects.loading import InvalidProject
from resources.database.control import ControlUnavailable
from resources.kubernetes_api.client import ClusterUnavailable
from resources.orchestration.events import EventsUnavailable
from resources.orchestration.graphql import DagsterUnavailable
from resources.storage.object_store import ObjectMissing
from resources.tracking.connection import TrackingRefused, TrackingUnavailable

Handler = Callable[[Call, Any], Output]
AsyncHandler = Callable[[Call, Any], Awaitable[Output]]
Streamer = Callable[[Call, Any], AsyncIterator[bytes]]
AWAY = (
    ClusterUnavailable,
    ControlUnavailable,
    DagsterUnavailable,
    EventsUnavailable,
    TrackingUnavailable,
)
RETRY_AFTER_S = 5
BEYOND_PROJECTS = frozenset(
    Permission(resource, action)
    for resource in ("user", "organization", "audit", "collection")
    for action in ACTIONS
    if (resource, action) != ("organization", "read")
)
"""What concerns the whole organization, and so no key that is confined to some of its projects."""
log = logging.getLogger(__name__)


class Executor:
    """Performs operations for the REST routes and the agent tools alike."""

    def __init__(
        self,
        platform: Platform,
        handlers: Mapping[str, Handler],
        streamers: Mapping[str, Streamer],
        quick: frozenset[str] = frozenset(),
    ) -> None:
        """`quick` names operations that only read a row or two of the control database."""
        self.platform = platform
        self.handlers, self._streamers, self._quick = handlers, streamers, quick
        self._bound: dict[str, AsyncHandler] = {}

    def bind(self, name: str, handler: AsyncHandler) -> None:
        """Let a coroutine perform the operation of this name."""
        self._bound[name] = handler

    @property
    def performed(self) -> set[str]:
        """Names of the operations that something performs."""
        return {*self.handlers, *self._streamers, *self._bound}

    async def perform(self, call: Call, operation: Operation, request: Input) -> Output:
        """What the operation answers. Raises Problem."""
        await self.admit(call, operation)
        if operation.name in self._bound:
            return await self._bound[operation.name](call, request)
        if operation.name in self._quick and self.platform.control.is_local:
            # Changing threads costs more than the work.
            return self._handled(call, operation, request)
        return await run_in_threadpool(self._handled, call, operation, request)

    async def stream(
        self, call: Call, operation: Operation, request: Input
    ) -> AsyncIterator[bytes]:
        """Events of the operation, once it is sure that there are some. Raises Problem."""
        await self.admit(call, operation)
        events = self._streamers[operation.name](call, request)
        with translated_errors():
            first = await anext(events)
        return _rejoined(first, events)

    async def admit(self, call: Call, operation: Operation) -> None:
        """Return when the caller may. Raises the problem `forbidden`, which is audited."""
        text = _refusal(call, operation)
        if text is None:
            return
        await run_in_threadpool(self.note_denial, call, operation.path, text)
        raise Problem("forbidden", text)

    def note_denial(self, call: Call, object: str, reason: str) -> None:
        """Record in the audit what was not allowed."""
        try:
            with self.platform.control.write() as connection:
                audit.record(
                    connection,
                    organization=call.principal.organization,
                    actor=str(call.principal),
                    on_behalf_of=call.on_behalf_of,
                    action=call.operation,
                    object=object,
                    decision="denied",
                    reason=reason,
                )
        except ControlUnavailable:
            log.warning("a denial could not be audited: %s: %s", call.principal, reason)

    def _handled(self, call: Call, operation: Operation, request: Input) -> Output:
        with translated_errors(), one_look():
            require_sense(request)
            if not operation.changes or call.is_preview:
                return self.handlers[operation.name](call, request)
            # A tool call has two: the key of its plan, and one among its own parameters.
            keys = (call.idempotency_key, getattr(request, "idempotency_key", None))
            return self._once(call, operation, request, [key for key in keys if key])

    def _once(self, call: Call, operation: Operation, request: Input, keys: list[str]) -> Output:
        """What the operation answers, carried out once for each of the idempotency keys."""
        if not keys:
            return self.handlers[operation.name](call, request)
        key, *more = keys
        body = request.model_dump(mode="json", exclude={"idempotency_key"})
        given = once(
            call,
            key,
            body,
            lambda inner: self._once(inner, operation, request, more),
            is_secret=operation.shows_secret,
        )
        return given if isinstance(given, Output) else self.replayed(call, operation, given)

    def replayed(self, call: Call, operation: Operation, kept: dict[str, Any]) -> Output:
        """The kept answer of an operation; a job as it is now. Raises the problem `conflict` for
        an answer that held a secret."""
        if "job_id" in kept:
            return self.handlers["jobs.get"](call, JobId.model_construct(id=kept["job_id"]))
        if operation.shows_secret:
            raise Problem(
                "conflict",
                f"{operation.name} was carried out with this idempotency key, and its secret is "
                "shown once",
                todo="Use a new key to make another one.",
            )
        return operation.output.model_validate(kept["output"])


def require_sense(request: Input) -> None:
    """Raises the problem `invalid` where fields that are right alone do not fit each other."""
    try:
        request.require_sense()
    except ValueError as error:
        raise Problem("invalid", str(error)) from error


def _refusal(call: Call, operation: Operation) -> str | None:
    """Why the caller may not, or None."""
    permission, principal = operation.permission, call.principal
    if permission is None:
        return None
    if not principal.may(permission):
        return f"role {principal.role} does not have the right to {permission}"
    if principal.projects is not None and permission in BEYOND_PROJECTS:
        return f"a key that is confined to projects does not have the right to {permission}"
    return None


@contextmanager
def translated_errors() -> Iterator[None]:
    """What adapters raise, as problems."""
    try:
        yield
    except AWAY as error:
        raise Problem("unavailable", str(error), retry_after_s=RETRY_AFTER_S) from error
    except TrackingRefused as error:
        raise Problem("invalid", str(error)) from error
    except ObjectMissing as error:
        raise Problem("not-found", str(error)) from error
    except InvalidProject as error:
        log.exception("the declarations of the checkout cannot be used")
        text = f"the declarations of this installation have mistakes: {error}"
        raise Problem("unavailable", text, retry_after_s=60) from error


async def _rejoined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for event in rest:
        yield event
