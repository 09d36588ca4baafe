"""The lines of a file of a request log, from the first on or from the last back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK_BYTES = 1 << 16
COLUMNS = "columns"


class Entry(NamedTuple):
    """A line of a log."""

    number: int
    """Of the line, from 1."""
    text: str
    columns: list[str]
    """As the file names them."""
    content: dict[str, Any] | None
    """None where the line cannot be read."""


def entries_of(file: Path) -> Iterator[Entry]:
    """The entries of one file of a log; the last line may be cut by a crash. Raises OSError."""
    columns: list[str] = []
    with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            content = _parsed(line)
            if content is not None and content.keys() == {COLUMNS}:
                columns = content[COLUMNS]
                continue
            yield Entry(number, line.rstrip("\n"), columns, content)


def columns_of(file: Path) -> list[str]:
    """Names of the columns, which the file begins with; none where it has none. Raises OSError."""
    with file.open("rb") as lines:
        return (_parsed(lines.readline()) or {}).get(COLUMNS, [])


def newest_first(file: Path) -> Iterator[dict[str, Any]]:
    """The requests of one file of a log from the last back, of which no more is read than is asked
    for. Raises OSError."""
    for line in _lines_back(file):
        content = _parsed(line)
        if content is not None and content.keys() >= {"at", "inputs", "model_version"}:
            yield content


def _lines_back(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        begin = content.seek(0, 2)
        rest: list[bytes] = []
        """The end of a line that begins before the block, in blocks from the last back."""
        while begin:
            size = min(BLOCK_BYTES, begin)
            begin = content.seek(begin - size)
            first, *whole = content.read(size).split(b"\n")
            if not whole:
                rest.append(first)
                continue
            yield whole[-1] + b"".join(reversed(rest))
            yield from reversed(whole[:-1])
            rest = [first]
        yield b"".join(reversed(rest))


def _parsed(line: str | bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
