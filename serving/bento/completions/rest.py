"""The paths below `/v1`: completions, chat completions and models."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from answers import BATCH_ROWS, Answers, Counted, ModelFailed
from asgi import reply, unless_gone, whole_body
from runtime.bad_request import BadRequest
from runtime.writing import LanguageModel

from . import request
from .answering import Answering, StreamFailed
from .queue import BUSY, MOST_WAITING, Queue
from .reply import CHAT, TEXT, Form, refusal
from .request import Asked, Refused

MODELS = "/models"
RETRY_AFTER_S = 2
FORMS: dict[str, tuple[Form, Callable[[bytes, LanguageModel, int], Asked]]] = {
    "/chat/completions": (CHAT, request.chat),
    "/completions": (TEXT, request.completion),
}
JSON = (b"content-type", b"application/json")
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Completions:
    """Answers the protocol's paths with one language model, whose name is that of its service."""

    def __init__(self, answers: Answers, model: LanguageModel) -> None:
        self._answers, self._model = answers, model
        self._name: str = answers.identity["service"]
        self._version: str = answers.identity["version"]
        self._head = (b"x-model-version", str(answers.identity["model_version"]).encode())
        self._queue = Queue(model, BATCH_ROWS.observe)

    async def answer(self, method: str, path: str, receive: Any, send: Send) -> None:
        """Answer the request for the path, without `/v1`."""
        if path not in FORMS:
            await self._tell_of_models(method, path, send)
            return
        try:
            with Counted():
                _require_method(method, "POST", path)
                form, read = FORMS[path]
                body = await whole_body(receive, self._answers.largest_body)
                # Long texts take a while to be divided into tokens.
                asked = await asyncio.to_thread(read, body, self._model, MOST_WAITING)
                self._require(asked.model)
                written = self._queue.admit(asked.prompts, asked.samplings)
                answering = Answering(self._answers, form, asked, written)
                try:
                    await unless_gone(receive, answering.answer(send))
                finally:
                    written.give_up()
        except (BadRequest, ModelFailed) as error:
            await self._refuse(error, send)
        except StreamFailed:
            pass  # Its last event says so.

    async def _tell_of_models(self, method: str, path: str, send: Send) -> None:
        try:
            if path != MODELS and not path.startswith(f"{MODELS}/"):
                known = ", ".join(f"/v1{each}" for each in (*FORMS, MODELS))
                raise Refused(f"no /v1{path:.200}; there is {known}", status=404)
            _require_method(method, "GET", path)
            told = {
                "id": self._name,
                "object": "model",
                "created": 0,
                "owned_by": self._name.partition(".")[0],
                "max_model_len": self._model.longest,
            }
            if path == MODELS:
                told = {"object": "list", "data": [told]}
            else:
                self._require(path.removeprefix(f"{MODELS}/"))
            await self._reply(send, 200, told)
        except BadRequest as error:
            await self._refuse(error, send)

    def _require(self, name: str) -> None:
        """Return when this is the model of that name, or none is named. Raises Refused."""
        if name not in ("", self._name):
            text = f"got the model {name!r:.200}, expected {self._name!r}, which is served here"
            raise Refused(text, "model", "model_not_found", 404)

    async def _refuse(self, error: BadRequest | ModelFailed, send: Send) -> None:
        status = error.status if isinstance(error, BadRequest) else 500
        field = error.field if isinstance(error, BadRequest) else ""
        code = error.code if isinstance(error, Refused) else None
        # Clients wait for so long before they ask again.
        more = [(b"retry-after", str(RETRY_AFTER_S).encode())] if status == BUSY else []
        await self._reply(send, status, refusal(status, str(error), field, code), more)

    async def _reply(
        self, send: Send, status: int, told: Any, more: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        """Answer with JSON."""
        await reply(send, status, json.dumps(told).encode(), [JSON, self._head, *more])


def _require_method(method: str, expected: str, path: str) -> None:
    if method != expected:
        raise Refused(f"/v1{path:.200} does not take {method}, expected {expected}", status=405)
