"""The authentication middleware: who sends a request, is it one too many, is it forged?

What belongs behind the sign-in is reached with a Principal in the scope, or not at all.
"""

import logging
import re
import secrets
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accounts.principal import Principal
from api.access.identity import PRINCIPAL, Credentials, Identity, credentials_in
from api.bodies import replayed
from api.http.rate_limit import RateLimit, RateLimiter
from api.problems import Problem
from resources.database.control import ControlUnavailable
from serving.contract import LARGEST_BODY as LARGEST_PREDICTION

OPEN = re.compile(
    r"^/(health|ready|openapi\.json|docs|problems/[a-z-]+|sign-in|oidc/(start|callback)"
    r"|saml/(start|acs|metadata)|favicon\.ico)$"
)
"""Paths that need no sign-in."""
FORM_POSTS = frozenset({"/saml/acs"})
"""Posted by a browser from another site, and proven by a signature instead."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FAILURES_PER_MINUTE = 60
UI_BODY_BYTES = 10_000_000
UNLIMITED = re.compile(r"^/mlflow/(ajax-)?api/[23]\.0/(mlflow-artifacts/|mlflow/upload-artifact$)")
"""Files on their way to the artifact store are as large as they are."""
PREDICTION = re.compile(
    r"^/inference/services/([A-Za-z0-9][A-Za-z0-9_.-]{0,120})(/predict|/v[12](?:/[\w-][\w.-]*)*/?)$",
    re.ASCII,
)
"""Paths that are passed on to a service: its name, and its own path, which leads nowhere else."""
"""Paths of predictions, with the service; they have limits of their own."""
REQUEST_ID = "orrery.request_id"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"SAMEORIGIN"),
)
log = logging.getLogger(__name__)


class _Answer:
    """The way back to the caller, and how far the answer is."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.has_begun = self.has_ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            own = (*HEADERS, (b"x-request-id", self._request_id.encode()))
            message["headers"] = [*message.get("headers", []), *own]
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.has_ended = True


class AuthenticationMiddleware:
    """Wraps the whole gateway."""

    def __init__(
        self,
        app: ASGIApp,
        identity: Identity,
        *,
        largest_body: int,
        requests_per_minute: int,
        predictions_per_minute: int,
        rate_limit_storage: str = "",
        on_denied: Callable[[Scope, Problem], None],
    ) -> None:
        self._app, self._identity = app, identity
        self._largest_body = largest_body
        self._limiter = RateLimiter(rate_limit_storage)
        self._requests = RateLimit("requests", requests_per_minute)
        self._failures = RateLimit("failures", FAILURES_PER_MINUTE)
        self._predictions = RateLimit("predictions", predictions_per_minute)
        self._on_denied = on_denied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or answer why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope[REQUEST_ID] = f"req_{secrets.token_hex(8)}"
        answer = _Answer(send, scope[REQUEST_ID])
        try:
            await self._admit(scope)
            await self._app(scope, await self._measured(scope, receive), answer)
        except Exception as error:
            problem = _problem_of(error)
            if problem.slug == "internal":
                log.exception("request %s failed", scope[REQUEST_ID])
            if problem.slug == "forbidden":
                await run_in_threadpool(self._on_denied, scope, problem)
            if not answer.has_begun:
                await self._refuse(problem, scope, receive, answer)
            elif not answer.has_ended:
                # Starlette raises an unexpected error again after it has answered it completely.
                raise

    async def _admit(self, scope: Scope) -> None:
        path = scope["path"]
        client = (scope.get("client") or ("unknown", 0))[0]
        if OPEN.match(path):
            await self._require_rate(self._requests, f"open/{client}")
            self._refuse_forged_form(scope)
            return
        headers = scope["headers"]
        try:
            credentials = credentials_in(headers)
            if credentials is None:
                raise Problem("unauthenticated", f"{path} needs a sign-in")
            principal = await self._principal(credentials)
        except Problem:
            # The caller is not known, so failed sign-ins are counted by address.
            await self._require_rate(self._failures, client)
            raise
        if credentials.is_session:
            refuse_forged(scope)
        limit = self._predictions if PREDICTION.match(path) else self._requests
        await self._require_rate(limit, principal.key_id or principal.user_id)
        scope[PRINCIPAL] = principal

    async def _principal(self, credentials: Credentials) -> Principal:
        known = self._identity.remembered(credentials)
        return known or await run_in_threadpool(self._identity.principal, credentials)

    async def _require_rate(self, limit: RateLimit, caller: str) -> None:
        if wait_s := await self._limiter.wait_s(limit, caller):
            text = f"more than {limit.per_minute} requests in a minute"
            raise Problem("rate-limited", text, retry_after_s=wait_s)

    def _refuse_forged_form(self, scope: Scope) -> None:
        if scope["type"] == "http" and scope["path"] not in FORM_POSTS:
            refuse_forged(scope)

    async def _measured(self, scope: Scope, receive: Receive) -> Receive:
        """The body, up to its largest size; read here, where a refusal still has its own words."""
        if scope["type"] != "http" or scope["method"] in SAFE or UNLIMITED.match(scope["path"]):
            return receive
        is_ui = scope["path"].startswith(("/dagster", "/mlflow"))
        largest = UI_BODY_BYTES if is_ui else self._largest_body
        if PREDICTION.match(scope["path"]):
            largest = LARGEST_PREDICTION
        length = _header(scope, b"content-length")
        if length and length.isdigit() and int(length) > largest:
            raise _too_large(largest)
        parts, got, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            parts.append(message.get("body", b""))
            got += len(parts[-1])
            if got > largest:
                raise _too_large(largest)
            more = message.get("more_body", False)
        return replayed(b"".join(parts), receive)

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # ASGI: `websocket.connect` must be received before the connection may be closed.
            await receive()
            await send({"type": "websocket.close", "code": 4401, "reason": problem.kind.title})
            return
        await _answer(problem, scope)(scope, receive, send)


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, ControlUnavailable):
        return Problem("unavailable", str(error), retry_after_s=2)
    return Problem("internal", "the request ended with an error that nobody expected")


def _answer(problem: Problem, scope: Scope) -> Response:
    wants_page = b"text/html" in (_header(scope, b"accept") or b"") and scope["method"] == "GET"
    if problem.slug == "unauthenticated" and wants_page:
        query = scope.get("query_string", b"").decode("latin-1")
        target = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"/sign-in?next={quote(target, safe='')}", 303)
    return problem.response(scope[REQUEST_ID])


def refuse_forged(scope: MutableMapping[str, Any]) -> None:
    """Return when the request comes from a page of ours, or changes nothing.

    Browsers say where a request comes from, and pages cannot change what they say (Fetch
    Metadata; OWASP). Raises the problem `forbidden`.
    """
    if scope["type"] == "http" and scope["method"] in SAFE:
        return
    site = _header(scope, b"sec-fetch-site")
    origin = _header(scope, b"origin")
    host = _header(scope, b"host") or b""
    if site in (b"same-origin", b"none") and scope["type"] == "http":
        return
    if origin is not None and urlsplit(origin.decode("latin-1")).netloc.encode("latin-1") == host:
        return
    if site is None and origin is None and scope["type"] == "http":
        raise Problem(
            "forbidden",
            "a browser session may change something only from a page of this address",
            todo="Send an `Origin` header of this address, or use an API key.",
        )
    raise Problem("forbidden", "the request comes from a page of another site")


def _header(scope: MutableMapping[str, Any], name: bytes) -> bytes | None:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), None)


def _too_large(largest: int) -> Problem:
    return Problem("too-large", f"the body has more than {largest} bytes")
