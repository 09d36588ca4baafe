"""A file that grows, as objects of a bucket: each holds a part, and only the last is written again.

An object cannot be appended to; written whole every time, a log of n bytes costs n squared. Every
writer has parts of its own under `NAME.parts/WRITER/`: one that does not know yet that another has
taken over cannot overwrite what the other writes. The file is the parts of all writers in order.
"""

from collections import defaultdict
from pathlib import Path

from engine.bucket import Bucket

PART_BYTES = 1 << 16
MOST_BYTES = 1 << 20
"""Of one read."""


class GrowingFile:
    """One writer's copy of a file of this machine. Its methods raise OSError."""

    def __init__(self, bucket: Bucket, name: str, writer: str) -> None:
        self._bucket, self._name, self._writer = bucket, name, writer
        self._first = self._copied = 0

    def fetch(self, file: Path) -> None:
        """Write into the file what all writers have copied; what follows is this writer's."""
        download(self._bucket, self._name, file)
        self._first = file.stat().st_size if file.exists() else 0

    def upload(self, file: Path) -> None:
        """Write what the file has and the copy lacks."""
        size = file.stat().st_size - self._first if file.exists() else 0
        if size <= self._copied:
            return
        with file.open("rb") as source:
            first = self._copied // PART_BYTES * PART_BYTES
            source.seek(self._first + first)
            for start in range(first, size, PART_BYTES):
                content = source.read(min(PART_BYTES, size - start))
                self._bucket.put(self._key(start), content)
                # Counted after each part, so that an upload that fails goes on from there.
                self._copied = start + len(content)

    def _key(self, start: int) -> str:
        # Padded, because a bucket lists keys in alphabetical order.
        return f"{_folder(self._name)}{self._writer}/{start // PART_BYTES:08d}"


class GrowingReader:
    """One reader's place in the copy of a file. Its methods raise OSError."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        self._read: dict[str, int] = {}
        self._unended: defaultdict[str, bytes] = defaultdict(bytes)

    def skip(self) -> None:
        """Pass over what is there already."""
        self._read = dict(self._parts())

    def read(self) -> bytes:
        """What is new, at most about `MOST_BYTES`."""
        return b"".join(content for _, content in self._new())

    def lines(self) -> bytes:
        """Whole lines that are new; the line that a writer has not ended waits."""
        whole: list[bytes] = []
        for writer, content in self._new():
            lines, end, self._unended[writer] = (self._unended[writer] + content).rpartition(b"\n")
            whole.append(lines + end)
        return b"".join(whole)

    def end(self, size: int) -> bytes:
        """The last bytes, at most so many, whether they were read or not."""
        end = b""
        for key, _ in reversed(self._parts()):
            end = self._bucket.get(key) + end
            if len(end) >= size:
                break
        return end[-size:]

    def _new(self) -> list[tuple[str, bytes]]:
        """Each with its writer."""
        parts: list[tuple[str, bytes]] = []
        length = 0
        for key, size in self._parts():
            if size <= self._read.get(key, 0):
                continue
            if length > MOST_BYTES:
                break
            content = self._bucket.tail(key, self._read.get(key, 0))
            # Not the listed size: the part may have grown since it was listed.
            self._read[key] = self._read.get(key, 0) + len(content)
            length += len(content)
            parts.append((key.split("/")[1], content))
        return parts

    def _parts(self) -> list[tuple[str, int]]:
        return list(self._bucket.walk(_folder(self._name)))


def download(bucket: Bucket, name: str, file: Path) -> None:
    """Write the whole copy into the file; nothing where there is no copy. Raises OSError."""
    keys = [key for key, _ in bucket.walk(_folder(name))]
    if not keys:
        return
    with file.open("wb") as target:
        for key in keys:
            target.write(bucket.get(key))


def _folder(name: str) -> str:
    return f"{name}.parts/"
