"""Server-sent events, as the HTML standard writes them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Event(Generic[T]):
    """One event of a followed log."""

    id: str
    """Place in the log, to go on from."""
    name: str
    data: T


def lines_in(parts: Iterable[bytes]) -> Iterator[str]:
    """The lines of the stream. Only its own line ends count: text of a log may hold others."""
    rest = b""
    for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode()


def events_in(lines: Iterable[str]) -> Iterator[Event[str]]:
    """The events of the lines that have data."""
    id, name, data = "", "message", []
    for line in lines:
        if not line:
            if data:
                yield Event(id, name, "\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            id = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
