"""Files that stay files: the instance's secret and the first key."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from deploy.migration.verification import CannotMove, Compared
from resources.settings import Settings


class KeptFiles:
    """The files, and where the settings have them."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._pairs = [
            (old, new)
            for old, new in _pairs(folder, settings)
            if old.is_file() and old.resolve() != new.resolve()
        ]

    def require_free(self) -> None:
        """See that nothing else is in their places. Raises CannotMove."""
        for old, new in self._pairs:
            if new.exists() and new.read_bytes() != old.read_bytes():
                raise CannotMove(
                    f"{new} is there and is not {old}; expected nothing or the same (without the "
                    "instance's secret no key opens); move it away, or name another ORRERY_STATE "
                    "or ORRERY_SECRET_FILE"
                )

    def copy(self) -> None:
        """Copy them, for their owner alone. Raises OSError."""
        for old, new in self._pairs:
            if new.exists():
                continue
            new.parent.mkdir(parents=True, exist_ok=True)
            draft = new.with_name(f".{new.name}.draft")
            # A copy that was interrupted has left its draft, and O_EXCL would refuse it.
            draft.unlink(missing_ok=True)
            # Created with its final mode, because before a later chmod others could read it.
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as f:
                f.write(old.read_bytes())
            draft.replace(new)

    def compare(self) -> Iterator[Compared]:
        """Each of them on both sides."""
        for old, new in self._pairs:
            is_there = new.exists()
            yield Compared(
                f"file {new.name}", 1, int(is_there), _digest(old), _digest(new) if is_there else ""
            )


def _pairs(folder: Path, settings: Settings) -> Iterator[tuple[Path, Path]]:
    yield folder / "instance.secret", settings.instance_secret_file
    yield folder / "admin.key", settings.admin_key_file


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
