"""What an engine's process prints, as few messages: live, bounded, and marked as its own words."""

import time
from dataclasses import dataclass
from pathlib import Path

EVERY_S = 1.0
SELDOM_S = 60.0
MOST_BYTES = 8_000
"""Of one message."""
BUDGET_BYTES = 2_000_000
"""After so many bytes messages come seldom: the whole output is in the engine's log anyway."""
BACKLOG_BYTES = 256_000
"""Most that is looked at at once; a process that prints faster has the middle left out."""


@dataclass(frozen=True)
class Output:
    """Lines that the process printed."""

    at: float
    """Seconds since the epoch."""
    text: str
    left_out: int = 0
    """Bytes that were printed in between and are not in the text."""

    def __str__(self) -> str:
        return self.text


class OutputPacer:
    """Gathers what is printed and gives it away in messages of bounded size and number."""

    def __init__(self) -> None:
        self._held = b""
        self._skipped = 0
        self._given = 0
        self._due = time.monotonic() + EVERY_S / 4

    def add(self, content: bytes, skipped: int = 0) -> None:
        """Take what was printed next, after so many bytes that were skipped."""
        self._held += content
        self._skipped += skipped

    def message(self, *, last: bool = False) -> Output | None:
        """What is due to be shown, or None; with `last` also the line that is not ended yet."""
        now = time.monotonic()
        if not last and now < self._due:
            return None
        end = len(self._held) if last else self._held.rfind(b"\n") + 1
        lines, self._held = self._held[:end], self._held[end:]
        # A line that does not end must not be held without a bound.
        if len(self._held) > MOST_BYTES:
            lines, self._held = lines + self._held, b""
        if not lines.strip() and not self._skipped:
            return None
        text, cut = _shortened(_overwritten(lines))
        skipped, self._skipped = self._skipped + cut, 0
        self._given += len(text)
        self._due = now + (EVERY_S if self._given < BUDGET_BYTES else SELDOM_S)
        return Output(time.time(), text, skipped)


class OutputFile:
    """The engine's log as it grows on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def new(self) -> tuple[bytes, int]:
        """What was printed since the last look, and bytes that were skipped before it."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                skipped = max(0, size - self._offset - BACKLOG_BYTES)
                file.seek(self._offset + skipped)
                content = file.read(BACKLOG_BYTES)
        except FileNotFoundError:
            return b"", 0
        self._offset += skipped + len(content)
        return content, skipped


def _overwritten(lines: bytes) -> bytes:
    """The lines as a terminal shows them: a bar that draws itself again shows its last state."""
    shown = (
        line.rstrip(b"\r").rpartition(b"\r")[2] if b"\r" in line else line
        for line in lines.split(b"\n")
    )
    return b"\n".join(shown)


def _shortened(lines: bytes) -> tuple[str, int]:
    """The text, and the bytes left out of its middle."""
    cut = max(0, len(lines) - MOST_BYTES)
    if cut:
        half = MOST_BYTES // 2
        note = f"\n... {cut} bytes left out; the whole is in engine.log ...\n".encode()
        lines = lines[:half] + note + lines[-half:]
    # PostgreSQL refuses text with a zero byte.
    return lines.decode(errors="replace").replace("\0", "\\0").strip("\n"), cut
