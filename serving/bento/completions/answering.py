"""One request for completions, from its admission to the end of its answer."""

import json
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from answers import Answers, failure, new_identity
from asgi import reply
from counts import Histogram
from prometheus_client import Counter

from .queue import Told, Written
from .reply import LAST, STILL, Choice, Form, Reply, event, refusal, usage
from .request import Asked

STILL_EVERY_S = 10.0
"""How long a stream has nothing before it says that it goes on."""
READ, WRITTEN = "read", "written"
TOKENS = Counter("predict_tokens", "Tokens of completions that were read or written.", ["kind"])
FIRST_PART = Histogram(
    "predict_first_part_seconds",
    "Time until the first part of a completion was written.",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # Proxies are not to gather it.
    (b"x-accel-buffering", b"no"),
)
Send = Callable[[dict[str, Any]], Awaitable[None]]


class StreamFailed(Exception):
    """The model failed in the middle of a stream, which its last event says."""


class Answering:
    """Gives what is written as it is asked for."""

    def __init__(self, answers: Answers, form: Form, asked: Asked, written: Written) -> None:
        self._answers, self._asked, self._written = answers, asked, written
        identity = answers.identity
        self._id = new_identity()
        self._reply = Reply(form, self._id, identity["service"], identity["version"])
        self._version = (b"x-model-version", str(identity["model_version"]).encode())
        self._parts: list[list[str]] = [[] for _ in asked.prompts]
        self._tokens = [0] * len(asked.prompts)
        self._endings = [""] * len(asked.prompts)
        self._began, self._has_begun = perf_counter(), False

    async def answer(self, send: Send) -> None:
        """Answer, by a stream where one is asked for. Raises ModelFailed before anything is sent,
        and StreamFailed after that."""
        try:
            async for told in self._written.parts(STILL_EVERY_S):
                await self._take(told, send)
        except Exception as error:
            failed = failure(error)
            if not self._has_begun:
                raise failed from error
            await _send(send, event(refusal(500, str(failed), "", None)), is_last=True)
            raise StreamFailed from error
        await self._end(send)

    async def _take(self, told: Told | None, send: Send) -> None:
        """Keep the part, and send it where the answer is a stream."""
        if told is not None:
            if not any(self._tokens):
                FIRST_PART.observe(perf_counter() - self._began)
            self._parts[told.place].append(told.part.text)
            self._tokens[told.place] = told.part.tokens
            self._endings[told.place] = told.part.ending or ""
        if not self._asked.is_streamed:
            return
        if not self._has_begun:
            self._has_begun = True
            headers = [*STREAM, self._version]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            beginnings = map(self._reply.beginning, range(len(self._parts)))
            await _send(send, b"".join(event(each) for each in beginnings if each))
        if told is None:
            await _send(send, STILL)
        else:
            await _send(send, event(self._reply.part(told.place, *told.part[::2])))

    async def _end(self, send: Send) -> None:
        asked = self._asked
        read = sum(len(prompt.tokens) for prompt in asked.prompts[:: asked.choices])
        used = usage(read, sum(self._tokens))
        texts = ["".join(parts) for parts in self._parts]
        if asked.is_streamed:
            last = event(self._reply.used(used)) if asked.wants_usage else b""
            await _send(send, last + LAST, is_last=True)
        else:
            choices = [Choice(*each) for each in zip(texts, self._endings, strict=True)]
            body = json.dumps(self._reply.whole(choices, used)).encode()
            headers = [(b"content-type", b"application/json"), self._version]
            await reply(send, 200, body, headers)
        TOKENS.labels(READ).inc(read)
        TOKENS.labels(WRITTEN).inc(sum(self._tokens))
        self._answers.keep([[prompt.text] for prompt in asked.prompts], texts, self._id)


async def _send(send: Send, body: bytes, *, is_last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})
