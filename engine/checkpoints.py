"""Checkpoints of one job: written whole, verified when read, the newest few kept."""

import shutil
from pathlib import Path

from engine.artefact import is_sealed, seal

CHECKPOINTS = "checkpoints"
"""Folder of a job's checkpoints in its work directory."""
# The earlier one is used where the newest turns out to be damaged.
KEPT = 2


def newest_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """Number and folder of the newest whole checkpoint; damaged ones are passed over.

    A training on several workers keeps its checkpoints in Ray's own storage, and has none here.
    """
    folders = sorted(folder.glob("[0-9]*"), reverse=True)
    return next(((int(f.name), f) for f in folders if is_sealed(f)), None)


class CheckpointFolder:
    """Numbered checkpoints in a folder; a folder without a true manifest does not count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, source: Path, number: int) -> Path:
        """Folder of the checkpoint, copied from `source`; a killed copy leaves none.

        Raises OSError on a full or read-only disk; earlier checkpoints stand.
        """
        # Padded, so that the order of the names is that of the numbers.
        target = self._folder / f"{number:06d}"
        draft = self._folder / f".{number:06d}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            shutil.copytree(source, draft)
            seal(draft)
            # A resumed attempt may reach a number again, and a rename cannot replace a folder.
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        # Last, so that a crash at any moment leaves a whole checkpoint.
        self._drop_old()
        return target

    def newest_valid(self) -> tuple[int, Path] | None:
        """Number and folder of the newest whole checkpoint; damaged ones are passed over."""
        return newest_checkpoint(self._folder)

    def _numbered(self) -> list[Path]:
        return sorted(p for p in self._folder.iterdir() if p.name.isdigit())

    def _drop_old(self) -> None:
        for folder in self._numbered()[:-KEPT]:
            shutil.rmtree(folder)
