"""Predictions: a request with a key goes on to the router of services, and its answer comes back.

The body is passed on as it came, so one place reads it, the process that answers, and a request is
refused in the same words at the router and here: `/predict`, the paths of the Open Inference
Protocol (`/v2`), and those of OpenAI's clients (`/v1`), whose answers may come in parts. The route
is its own ASGI application, because what a framework adds to a request costs more than a
prediction.
"""

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from api.access.identity import PRINCIPAL
from api.bodies import unless_gone, whole_body
from api.context import Call
from api.executor import Executor, translated_errors
from api.http.middleware import PREDICTION
from api.operations.inference import PREDICT, Predict, Prediction
from api.predictions.router_client import (
    DESCRIBING,
    JSON,
    Reply,
    RouterClient,
    RouterUnavailable,
)
from api.predictions.router_stream import streamed
from api.problems import FieldError, Problem

OWN = "/predict"
"""Path of the platform's own protocol at a service."""
COMPLETIONS = "/v1"
"""Path of the protocol whose answers may come in parts."""
PASSED_ON = (*DESCRIBING, b"content-encoding")
"""Headers of a request that a service reads."""
REMEMBERED_S = 1.0
"""How long the addresses of a service are used before they are read again."""
MOST_REMEMBERED = 10_000
RETRY_AFTER_S = 5
OK = 200
MISFIT, TOO_LARGE, NOT_FINITE, MODEL_FAILED = 400, 413, 422, 500
"""Refusals of the process that answers; other errors are the router's."""


def is_forwarded(method: str, path: str) -> bool:
    """Whether the request is passed on to a service: a prediction, or any of another protocol."""
    match = PREDICTION.match(path)
    return match is not None and (method == "POST" or match[2] != OWN)


class _Addresses(NamedTuple):
    urls: list[str]
    weights: list[int]
    until: float


class Predictions:
    """Performs `services.predict`, for the REST route and for tools."""

    def __init__(self, executor: Executor) -> None:
        self._performer = executor
        self._router = RouterClient()
        self._remembered: dict[tuple[str, frozenset[str] | None, str], _Addresses] = {}
        executor.bind(PREDICT.name, self.predict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, whose path is one of predictions. Raises Problem."""
        match = PREDICTION.match(scope["path"])
        assert match
        behalf = next((v for k, v in scope["headers"] if k == b"x-on-behalf-of"), None)
        call = Call(
            self._performer.platform,
            scope[PRINCIPAL],
            PREDICT.name,
            behalf.decode("latin-1") if behalf else None,
        )
        await self._performer.admit(call, PREDICT)
        service, path = match.groups()
        if path.startswith(COMPLETIONS):
            await self._pass_on_parts(call, service, path, scope, receive, send)
            return
        if path == OWN:
            body = await self._forwarded(call, service, await whole_body(receive))
            reply = Reply(OK, body, [*JSON])
        else:
            reply = await self._inferred(call, service, path, scope, receive)
        headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def predict(self, call: Call, request: Predict) -> Prediction:
        """What the service answers. Raises Problem."""
        body = request.model_dump_json(include={"inputs", "rows"}, exclude_none=True)
        answer = json.loads(await self._forwarded(call, request.id, body.encode()))
        return Prediction(**{k: answer[k] for k in Prediction.model_fields if k in answer})

    def close(self) -> None:
        """End the connections to the router."""
        self._router.close()

    async def _forwarded(self, call: Call, service: str, body: bytes) -> bytes:
        """Body of the answer. Raises Problem."""
        with self._translated(service):
            reply = await self._router.post(await self._url(call, service), body)
        if reply.status != OK:
            raise _problem(service, reply)
        return reply.body

    async def _inferred(
        self, call: Call, service: str, path: str, scope: Scope, receive: Receive
    ) -> Reply:
        """What the service answers by the Open Inference Protocol, whose clients read its refusals.
        Raises Problem where none answers."""
        body = await whole_body(receive)
        headers = [each for each in scope["headers"] if each[0] in PASSED_ON]
        url = await self._url(call, service)
        with self._translated(service):
            return await self._router.request(
                scope["method"], url.removesuffix(OWN) + path, body, headers
            )

    async def _pass_on_parts(
        self, call: Call, service: str, path: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send what the service answers as it comes, refusals too. Raises Problem where none
        answers."""
        body = await whole_body(receive)
        headers = [each for each in scope["headers"] if each[0] in PASSED_ON]
        url = (await self._url(call, service)).removesuffix(OWN) + path

        async def pass_on() -> None:
            async with streamed(scope["method"], url, body, headers) as answer:
                start = {"status": answer.status, "headers": answer.headers}
                await send({"type": "http.response.start", **start})
                async for part in answer.parts():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})

        with self._translated(service):
            await unless_gone(receive, pass_on())

    @contextmanager
    def _translated(self, service: str) -> Iterator[None]:
        try:
            yield
        except RouterUnavailable as error:
            self._remembered.clear()
            text = f"{service} does not answer: {error}"
            raise Problem("not-serving", text, retry_after_s=RETRY_AFTER_S) from error

    async def _url(self, call: Call, service: str) -> str:
        """Where to send the request: versions in a canary have their shares here too."""
        # Callers see different services: another organization may use the same name.
        key = (call.principal.organization, call.principal.projects, service)
        known = self._remembered.get(key)
        if known is None or known.until < time.monotonic():
            addresses = await run_in_threadpool(_addresses, call, service)
            if not addresses:
                text = f"no version of {service} answers"
                raise Problem("not-serving", text, retry_after_s=RETRY_AFTER_S)
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            until = time.monotonic() + REMEMBERED_S
            known = _Addresses(list(addresses), list(addresses.values()), until)
            self._remembered[key] = known
        if len(known.urls) == 1:
            return known.urls[0]
        return random.choices(known.urls, known.weights)[0]


def _addresses(call: Call, service: str) -> dict[str, int]:
    with translated_errors():
        project, name, _ = call.platform.projects.service(call.principal, service)
        return call.platform.runtime.endpoints(f"{project.name}.{name}")


def _problem(service: str, reply: Reply) -> Problem:
    """The refusal of the process that answers, or of the router before it."""
    said = _said(reply.body)
    message = str(said.get("error") or f"{service} answered with status {reply.status}")
    if reply.status == TOO_LARGE:
        return Problem("too-large", message)
    if reply.status in (MISFIT, NOT_FINITE):
        field = str(said.get("field") or "")
        if said.get("kind") == "malformed":
            return Problem("malformed", message)
        errors = [FieldError(field=field, message=message)] if field else []
        return Problem("invalid", message, errors=errors)
    if reply.status == MODEL_FAILED and said:
        return Problem("upstream-failed", f"{service}: {message}")
    return Problem("not-serving", f"{service}: {message}", retry_after_s=RETRY_AFTER_S)


def _said(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
