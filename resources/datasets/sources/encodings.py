"""Text files in UTF-8, whatever encoding they were written in."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from resources.datasets.remarks import Remark
from resources.datasets.sources.rows import SourceUnreadable

FALLBACK = "windows-1252"
"""What files without another sign are read as that are not UTF-8: the encoding of spreadsheets."""
CHUNK_BYTES = 1 << 20
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    # Longer marks first: that of UTF-32 begins like that of UTF-16.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class TextFile(NamedTuple):
    """A file as UTF-8 text."""

    path: Path
    """File with the text in UTF-8."""
    name: str
    """Name of the source's file, for people."""


def as_utf8(
    path: Path, name: str, declared: str | None, folder: Path
) -> tuple[TextFile, Remark | None]:
    """The file in UTF-8, written anew into the folder where it is in another encoding.

    Raises SourceUnreadable with the line and the byte that the encoding does not have.
    """
    encoding = declared if declared not in (None, "utf-8") else _marked(path) or declared
    if encoding is None:
        fault = _fault(path, "utf-8")
        if fault is None:
            _require_no_zeros(path, name)
            return TextFile(path, name), None
        _require_no_other_utf8(path, name, fault)
        encoding = FALLBACK
    elif encoding == "utf-8" and _fault(path, encoding) is None:
        return TextFile(path, name), None
    if fault := _fault(path, encoding):
        raise SourceUnreadable(
            f"{name} cannot be read: line {fault.line} holds the byte 0x{fault.byte:02x}, which "
            f"{encoding} does not have; expected UTF-8, or declare its encoding under read: "
            "{encoding: ...}"
        )
    # Numbered, because files of different folders may have the same name.
    target = folder / f"{len(list(folder.iterdir()))}-{path.name}"
    with target.open("w", encoding="utf-8", newline="") as text:
        text.writelines(_decoded(path, encoding))
    if declared or encoding != FALLBACK:
        return TextFile(target, name), None
    reason = f"the text is not UTF-8 and was read as {FALLBACK}; declare read: {{encoding: ...}}"
    remark = Remark(subject=name, about="file", action="converted", count=1, reason=reason)
    return TextFile(target, name), remark


class _Fault(NamedTuple):
    """The first byte that an encoding does not have."""

    line: int
    byte: int


def _marked(path: Path) -> str | None:
    """Encoding that the file's byte order mark tells."""
    with path.open("rb") as file:
        head = file.read(4)
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), None)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _decoded(path: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    for chunk in _chunks(path):
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def _fault(path: Path, encoding: str) -> _Fault | None:
    lines = 1
    decoded = _decoded(path, encoding)
    while True:
        try:
            lines += next(decoded).count("\n")
        except StopIteration:
            return None
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(encoding, errors="ignore")
            return _Fault(lines + before.count("\n"), error.object[error.start])


def _require_no_zeros(path: Path, name: str) -> None:
    if any(b"\0" in chunk for chunk in _chunks(path)):
        raise SourceUnreadable(
            f"{name} cannot be read: it holds zero bytes, as UTF-16 without a byte order mark "
            "does; expected text, or declare read: {encoding: utf-16-le}"
        )


def _require_no_other_utf8(path: Path, name: str, fault: _Fault) -> None:
    """A file that is UTF-8 but for a few bytes is damaged; another encoding would change it all."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    good = bad = 0
    for chunk in _chunks(path):
        beyond = [c for c in decoder.decode(chunk) if c > "\x7f"]
        escaped = sum("\udc80" <= c <= "\udcff" for c in beyond)
        good, bad = good + len(beyond) - escaped, bad + escaped
    if good > bad:
        raise SourceUnreadable(
            f"{name} cannot be read: line {fault.line} holds the byte 0x{fault.byte:02x}, which "
            "UTF-8 does not have, while the rest is UTF-8; mend the line, or declare read: "
            "{encoding: ...}"
        )
