"""What was compared of the two places, and what it says."""

from typing import NamedTuple


class CannotMove(Exception):
    """The state folder cannot be moved as it is; says why, and what to do."""


class Compared(NamedTuple):
    """One table, or one kind of files, on both sides."""

    place: str
    old_count: int
    new_count: int
    old_sha256: str
    new_sha256: str
    old_bytes: int | None = None
    new_bytes: int | None = None
    differing: tuple[str, ...] = ()
    """Names of the files that are not the same."""

    @property
    def is_same(self) -> bool:
        """Whether both sides hold the same."""
        return (
            self.old_count == self.new_count
            and self.old_bytes == self.new_bytes
            and self.old_sha256 == self.new_sha256
        )

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """What a table shows of it."""
        return (
            self.place,
            _both(self.old_count, self.new_count),
            _both(self.old_bytes, self.new_bytes),
            _both(self.old_sha256[:12], self.new_sha256[:12]),
            "same" if self.is_same else "DIFFERS",
        )

    def __str__(self) -> str:
        named = f": {', '.join(self.differing[:5])}" if self.differing else ""
        more = len(self.differing) - 5
        return (
            f"{self.place} differs{named}{f' and {more} more' if more > 0 else ''} (got "
            f"{self.new_count} of SHA-256 {self.new_sha256[:12]}, expected {self.old_count} of "
            f"{self.old_sha256[:12]})"
        )


def _both(old: object, new: object) -> str:
    if old == new:
        return "" if new is None else str(new)
    return f"{new}, not {old}"
