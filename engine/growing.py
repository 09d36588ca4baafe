"""A file that grows, as objects of a bucket: each holds a part, and only the last is written again.

An object cannot be appended to; written whole every time, a log of n bytes costs n squared.
"""

from pathlib import Path

from engine.bucket import Bucket

PART_BYTES = 1 << 16


class GrowingFile:
    """The copy in the bucket, under `NAME.parts/`. Its methods raise OSError."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        self._copied = 0

    def upload(self, file: Path) -> None:
        """Write what the file has and the copy lacks."""
        size = file.stat().st_size if file.exists() else 0
        if size <= self._copied:
            return
        with file.open("rb") as source:
            first = self._copied // PART_BYTES * PART_BYTES
            source.seek(first)
            for start in range(first, size, PART_BYTES):
                content = source.read(min(PART_BYTES, size - start))
                self._bucket.put(self._key(start), content)
                self._copied = start + len(content)

    def download(self, file: Path) -> None:
        """Write the whole copy into the file; nothing where there is no copy."""
        keys = [key for key, _ in self._bucket.walk(f"{self._name}.parts/")]
        if not keys:
            return
        with file.open("wb") as target:
            for key in keys:
                target.write(self._bucket.get(key))
        self._copied = file.stat().st_size

    def tail(self, offset: int, most: int = 1 << 20) -> bytes:
        """What the copy has from the offset on, at most so many bytes."""
        parts: list[bytes] = []
        length = 0
        while length < most:
            start = (offset + length) // PART_BYTES * PART_BYTES
            part = self._bucket.tail(self._key(start), offset + length - start)
            parts.append(part)
            length += len(part)
            if (offset + length) % PART_BYTES or not part:
                break
        return b"".join(parts)

    def size(self) -> int:
        """Bytes of the copy."""
        sizes = [size for _, size in self._bucket.walk(f"{self._name}.parts/")]
        return sum(sizes)

    def _key(self, start: int) -> str:
        return f"{self._name}.parts/{start // PART_BYTES:08d}"
