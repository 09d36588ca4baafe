"""Which files of each watched dataset are known; kept in the object store, and read when a listing
changes.

duplicate: equal content is not written again. partial write: an object appears whole; a look whose
    note is lost takes the files as seen for the first time, and waits for one look more.
timeout, retry, cancel: the object store's.
"""

import hashlib
import json
from typing import NamedTuple

from resources.storage.object_store import ObjectMissing, ObjectStore

Files = dict[str, str]
"""Version tag by path."""


class Found(NamedTuple):
    """What one look at a dataset means."""

    fresh: Files
    """Files that are new or changed and stood still since the look before."""
    growing: int = 0
    """Files that are new or changed and did not."""
    is_first: bool = False
    """Whether nothing was known before this look."""

    @property
    def digest(self) -> str:
        """Identity of the fresh files."""
        return _digest(self.fresh)


class _Note(NamedTuple):
    """What is kept of a dataset."""

    known: Files
    """Files that were acted on, or were there at the first look."""
    seen: Files
    """Files of the newest look."""

    @property
    def changed(self) -> Files:
        """Files of the newest look that nothing was done about."""
        return {path: tag for path, tag in self.seen.items() if self.known.get(path) != tag}


class KnownFiles:
    """What is known of every watched dataset; the process remembers what it has read or written."""

    def __init__(self) -> None:
        self._quiet: dict[str, str] = {}
        """Digest of the listing with which there was nothing to do, by dataset."""

    def look(self, objects: ObjectStore, dataset: str, files: Files) -> Found:
        """What the files of `PROJECT.DATASET` that are there now mean. Raises OSError."""
        listing = _digest(files)
        if self._quiet.get(dataset) == listing:
            return Found({})
        before = _read(objects, dataset)
        if before is None:
            self._quiet[dataset] = listing
            _write(objects, dataset, _Note(files, files))
            return Found({}, is_first=True)
        now = before._replace(seen=files)
        if now != before:
            _write(objects, dataset, now)
        if not now.changed:
            self._quiet[dataset] = listing
            return Found({})
        moving = sum(before.seen.get(path) != tag for path, tag in now.changed.items())
        return Found({}, growing=moving) if moving else Found(now.changed)

    def settle(self, objects: ObjectStore, dataset: str, digest: str) -> None:
        """The fresh files of the digest were acted on, and are known now. Raises OSError."""
        note = _read(objects, dataset)
        if note is not None and _digest(note.changed) == digest:
            known = {**note.known, **note.changed}
            _write(objects, dataset, note._replace(known=known))


def _read(objects: ObjectStore, dataset: str) -> _Note | None:
    try:
        content = json.loads(objects.get_text(_key(dataset)))
    except ObjectMissing:
        return None
    return _Note(content["known"], content["seen"])


def _write(objects: ObjectStore, dataset: str, note: _Note) -> None:
    objects.put_text(_key(dataset), json.dumps(note._asdict()))


def _key(dataset: str) -> str:
    return f"sensors/new_data/{dataset.replace('.', '/', 1)}.json"


def _digest(files: Files) -> str:
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()
