"""What is answered to requests for completions, as the protocol writes it."""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

LAST = b"data: [DONE]\n\n"
"""End of a stream."""
STILL = b": still writing\n\n"
"""What a stream has while nothing is written, so that nobody on the way takes it for broken."""


class Choice(NamedTuple):
    """A text that was written."""

    text: str
    ending: str


class Form(NamedTuple):
    """How one of the two requests is answered."""

    prefix: str
    """Of an identity."""
    whole: str
    part: str
    """Names of the object, whole and of a stream."""
    is_chat: bool


CHAT = Form("chatcmpl-", "chat.completion", "chat.completion.chunk", is_chat=True)
TEXT = Form("cmpl-", "text_completion", "text_completion", is_chat=False)


class Reply:
    """The answer to one request."""

    def __init__(self, form: Form, request_id: str, model: str, version: str) -> None:
        self._form = form
        self._head = {
            "id": form.prefix + request_id,
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": version,
        }

    def whole(self, choices: Sequence[Choice], usage: dict[str, int]) -> dict[str, Any]:
        """The answer of a request without a stream."""
        told = [self._choice(place, *choice) for place, choice in enumerate(choices)]
        return {**self._head, "object": self._form.whole, "choices": told, "usage": usage}

    def _choice(self, place: int, text: str, ending: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        said = {"message": message} if self._form.is_chat else {"text": text}
        return {"index": place, **said, "logprobs": None, "finish_reason": ending}

    def beginning(self, place: int) -> dict[str, Any] | None:
        """What a stream has before the first part of a choice; None where there is nothing."""
        if not self._form.is_chat:
            return None
        return self._chunk(place, {"delta": {"role": "assistant", "content": ""}}, None)

    def part(self, place: int, text: str, ending: str | None) -> dict[str, Any]:
        """A part of a choice, the last with its ending."""
        if self._form.is_chat:
            return self._chunk(place, {"delta": {"content": text} if text else {}}, ending)
        return self._chunk(place, {"text": text}, ending)

    def used(self, usage: dict[str, int]) -> dict[str, Any]:
        """What a stream has been, at its end."""
        return {**self._head, "object": self._form.part, "choices": [], "usage": usage}

    def _chunk(self, place: int, said: dict[str, Any], ending: str | None) -> dict[str, Any]:
        choice = {"index": place, **said, "logprobs": None, "finish_reason": ending}
        return {**self._head, "object": self._form.part, "choices": [choice]}


def usage(prompt_tokens: int, written_tokens: int) -> dict[str, int]:
    """How many tokens were read and written."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": written_tokens,
        "total_tokens": prompt_tokens + written_tokens,
    }


def refusal(status: int, message: str, field: str, code: str | None) -> dict[str, Any]:
    """Why a request is not answered."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": field or None, "code": code}
    return {"error": error}


def event(told: dict[str, Any]) -> bytes:
    """An event of a stream."""
    return b"data: %b\n\n" % json.dumps(told, separators=(",", ":")).encode()
