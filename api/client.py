"""The Python client: every operation, typed by its own models.

    from api.client import Client
    from api.operations import jobs

    client = Client.discovered()
    job = client.call(jobs.SUBMIT, jobs.SubmitTraining(model="digits/reader"))

timeout: `TIMEOUT_S` a call; a followed log has none.
retry: a followed log is taken up where it was; other calls are not repeated.
cancel: an interrupted call may have been carried out; look, or use an idempotency key.
duplicate: operations with an `idempotency_key` are carried out once per key.
partial write: the platform's own.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote

import httpx
from httpx_sse import EventSource

from api.operations.operation import HEADERS, Input, Operation, Output
from api.problems import ProblemDocument
from resources.running_instance import running
from resources.settings import Settings

TIMEOUT_S = 60.0
CONNECT_S = 5.0
RESUME_S = 1.0
CREDENTIALS = Path("~/.config/orrery/credentials.json")
I = TypeVar("I", bound=Input)  # noqa: E741
O = TypeVar("O", bound=Output)  # noqa: E741


class Refused(Exception):
    """The platform answered with a problem."""

    def __init__(self, problem: ProblemDocument) -> None:
        self.problem = problem
        fields = "".join(f"\n  {e.field}: {e.message}" for e in problem.errors)
        super().__init__(f"{problem.title}: {problem.detail}{fields}\n{problem.todo}")


class Unreachable(Exception):
    """Nobody answers at the address."""


class NoKey(Exception):
    """No key was found to sign in with."""


class Event(NamedTuple):
    """One server-sent event."""

    id: str
    name: str
    data: str


class Client:
    """One platform, one key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S)

    @classmethod
    def discovered(cls) -> "Client":
        """The platform that `ORRERY_URL` and `ORRERY_API_KEY` name, or `orrery sign-in` kept, or
        that runs on this machine.

        Raises NoKey.
        """
        settings = Settings()
        settings = running(settings) or settings
        url = os.environ.get("ORRERY_URL")
        key = os.environ.get("ORRERY_API_KEY") or os.environ.get("ORRERY_KEY")
        if key:
            return cls(url or settings.url, key)
        kept = CREDENTIALS.expanduser()
        if kept.exists() and not settings.admin_key_file.exists():
            known = json.loads(kept.read_text())
            return cls(url or known["url"], known["key"])
        if settings.admin_key_file.exists():
            return cls(url or settings.url, settings.admin_key_file.read_text().strip())
        raise NoKey(
            "no key to sign in with; set ORRERY_URL and ORRERY_API_KEY, run `orrery sign-in`, or "
            "start `orrery up` on this machine"
        )

    def call(self, operation: Operation[I, O], request: I) -> O:
        """What the operation answers. Raises Refused or Unreachable."""
        answer = self._sent(operation, request)
        return cast(O, operation.output.model_validate_json(answer.content))

    def follow(self, operation: Operation[I, O], request: I) -> Iterator[tuple[Event, O]]:
        """Events of a log until its end, across broken connections.

        Raises Refused or Unreachable.
        """
        last: str | None = getattr(request, "last_event_id", None)
        while True:
            resumed = request.model_copy(update={"last_event_id": last})
            try:
                for event in self._events(operation, resumed):
                    last = event.id or last
                    yield event, cast(O, operation.output.model_validate_json(event.data))
                    if event.name == "end":
                        return
            except httpx.TransportError:
                time.sleep(RESUME_S)

    def _events(self, operation: Operation, request: Input) -> Iterator[Event]:
        message = self._request(operation, request)
        message.extensions["timeout"] = {
            "connect": 5.0,
            # The server sends a comment every 15 s, so a longer silence means a broken connection.
            "read": TIMEOUT_S,
            "write": 5.0,
            "pool": 5.0,
        }
        answer = self._http.send(message, stream=True)
        try:
            if answer.status_code >= httpx.codes.BAD_REQUEST:
                answer.read()
                raise _refused(answer)
            for event in EventSource(answer).iter_sse():
                # An event that only sets the time to come again has no data.
                if event.data:
                    yield Event(event.id, event.event, event.data)
        finally:
            answer.close()

    def _sent(self, operation: Operation, request: Input) -> httpx.Response:
        try:
            answer = self._http.send(self._request(operation, request))
        except httpx.TransportError as error:
            raise Unreachable(f"nobody answers at {self.url}: {error}") from error
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise _refused(answer)
        return answer

    def _request(self, operation: Operation, request: Input) -> httpx.Request:
        given = request.model_dump(mode="json", exclude_unset=True)
        path = operation.path.format(
            **{name: quote(str(given[name]), safe="") for name in operation.path_fields}
        )
        headers = {
            HEADERS[name]: str(given[name])
            for name in operation.header_fields
            if given.get(name) is not None
        }
        others = {name: given[name] for name in operation.other_fields if name in given}
        if operation.has_body:
            return self._http.build_request(operation.method, path, json=others, headers=headers)
        params: dict[str, Any] = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in others.items()
            if value is not None
        }
        return self._http.build_request(operation.method, path, params=params, headers=headers)


def keep_credentials(url: str, key: str) -> Path:
    """File that now holds them, readable by its owner alone."""
    path = CREDENTIALS.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": url, "key": key}, file)
    return path


def _refused(answer: httpx.Response) -> Exception:
    try:
        return Refused(ProblemDocument.model_validate_json(answer.content))
    except ValueError:
        return Unreachable(f"{answer.url} answered {answer.status_code}, and not as Orrery does")
