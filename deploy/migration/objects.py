"""Files of the state folder that become objects: versions, artefacts, evidence, MLflow's files,
output of steps, projects of the API, and request logs."""

import fnmatch
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from deploy.migration.addresses import Addresses
from deploy.migration.databases import OnProgress
from deploy.migration.verification import CannotMove, Compared
from engine.artefact import sha256_of
from engine.bucket import Bucket

THREADS = 8
DOCUMENTS = ("datasets/*/version.json", "evidence/*.json", "mlflow/*/MLmodel")
"""Keys of documents that name addresses; everything else is moved byte for byte."""
OUTPUTS = {".out", ".err"}
T = TypeVar("T")
POD = "embedded"
"""Stands for the pod in the keys of request logs."""


@dataclass(frozen=True)
class Moved:
    """One file and the object that it becomes."""

    key: str
    file: Path
    document: bytes | None
    """Content with new addresses, where it names any."""

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self.file.stat().st_size if self.document is None else len(self.document)

    @property
    def sha256(self) -> str:
        """SHA-256 of the object."""
        if self.document is None:
            return sha256_of(self.file)
        return hashlib.sha256(self.document).hexdigest()


class Objects:
    """All files that become objects, and the bucket."""

    def __init__(
        self, folder: Path, addresses: Addresses, bucket: str, on_progress: OnProgress
    ) -> None:
        self._bucket, self._on_progress = Bucket(bucket), on_progress
        self._all = {
            key: Moved(key, file, _document(key, file, addresses)) for key, file in _keys_of(folder)
        }

    def missing(self) -> list[Moved]:
        """What is not in the bucket yet. Raises CannotMove for a bucket that holds something else,
        or OSError."""
        there = dict(self._bucket.walk())
        kept = [self._all[key] for key in there if key in self._all]
        other = [key for key in there if key not in self._all]
        other += [m.key for m, is_same in _each(kept, self._is_there) if not is_same]
        if other:
            raise CannotMove(
                f"{self._bucket.uri} is not empty: got {len(other)} objects that are not the "
                f"state folder's, such as {', '.join(sorted(other)[:3])}; expected nothing, or "
                "what an earlier `orrery migrate` left; name another bucket or prefix in "
                "ORRERY_OBJECTS"
            )
        return [moved for key, moved in self._all.items() if key not in there]

    def copy(self, missing: list[Moved]) -> None:
        """Write the objects. Raises OSError; what was written before stays, and is found again."""
        for done, _ in enumerate(_each(missing, self._put), 1):
            self._on_progress("objects: copying", done)

    def compare(self) -> Iterator[Compared]:
        """Each kind of files on both sides, read back whole. Raises OSError."""
        there = dict(self._bucket.walk())
        digests = {key: "" for key in there}
        present = [moved for key, moved in self._all.items() if key in there]
        for done, (moved, digest) in enumerate(_each(present, self._digest_there), 1):
            digests[moved.key] = digest
            self._on_progress("objects: comparing", done)
        wanted = {m.key: digest for m, digest in _each(self._all.values(), _digest_here)}
        for kind in sorted({key.partition("/")[0] for key in (*digests, *wanted)}):
            old = {key: digest for key, digest in wanted.items() if _is_of(key, kind)}
            new = {key: digest for key, digest in digests.items() if _is_of(key, kind)}
            yield Compared(
                f"objects: {kind}/",
                len(old),
                len(new),
                _listed(old),
                _listed(new),
                sum(self._all[key].size for key in old),
                sum(there[key] for key in new),
                tuple(sorted(key for key in {**old, **new} if old.get(key) != new.get(key))),
            )

    def _is_there(self, moved: Moved) -> bool:
        if self._bucket.size(moved.key) != moved.size:
            return False
        return self._bucket.sha256(moved.key) == moved.sha256

    def _digest_there(self, moved: Moved) -> str:
        return self._bucket.sha256(moved.key)

    def _put(self, moved: Moved) -> None:
        if moved.document is None:
            self._bucket.upload(moved.file, moved.key)
        else:
            self._bucket.put(moved.key, moved.document)


def _each(objects: Iterable[Moved], work: Callable[[Moved], T]) -> Iterator[tuple[Moved, T]]:
    """Each object with what the work says of it; several at a time."""
    listed = list(objects)
    with ThreadPoolExecutor(THREADS) as pool:
        pending = [pool.submit(work, moved) for moved in listed]
        try:
            for moved, result in zip(listed, pending, strict=True):
                yield moved, result.result()
        finally:
            # Otherwise the pool would finish all waiting work after an error.
            for each in pending:
                each.cancel()


def set_logs_apart(folder: Path) -> None:
    """Put the request logs where this machine keeps its copy of those in the bucket: once there,
    they are neither fetched and read twice nor written over."""
    for service in (folder / "requests").glob("*/"):
        for file in [path for path in service.iterdir() if path.is_file()]:
            (service / POD).mkdir(exist_ok=True)
            file.replace(service / POD / file.name)


def _digest_here(moved: Moved) -> str:
    return moved.sha256


def _is_of(key: str, kind: str) -> bool:
    return key.partition("/")[0] == kind


def _listed(digests: dict[str, str]) -> str:
    lines = "".join(f"{digest} {key}\n" for key, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _document(key: str, file: Path, addresses: Addresses) -> bytes | None:
    if not any(fnmatch.fnmatchcase(key, pattern) for pattern in DOCUMENTS):
        return None
    text = file.read_text(encoding="utf-8")
    rewritten = addresses.rewritten(text)
    return None if rewritten == text else rewritten.encode()


def _keys_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Key and file of everything that becomes an object."""
    for name, _, file in _files(folder / "objects"):
        yield name, file
    for name, _, file in _files(folder / "mlflow"):
        yield f"mlflow/{name}", file
    for name, path, file in _files(folder / "logs"):
        if path.suffix in OUTPUTS:
            yield f"compute-logs/storage/{name}", file
    for name, path, file in _files(folder / "projects"):
        if path.suffix == ".yaml" and not path.name.startswith("."):
            yield f"projects/{name}", file
    for _, path, file in _files(folder / "requests"):
        service, *parts = path.parts
        if parts:
            yield "/".join(["requests", service, POD, *(p for p in parts if p != POD)]), file


def _files(folder: Path) -> Iterator[tuple[str, PurePosixPath, Path]]:
    """Every whole file of the folder; a draft is what an interrupted write left."""
    for file in sorted(folder.rglob("*")):
        path = PurePosixPath(file.relative_to(folder).as_posix())
        is_draft = any(p.startswith(".") and p.endswith(".draft") for p in path.parts)
        if file.is_file() and not is_draft:
            yield str(path), path, file
