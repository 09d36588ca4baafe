"""The adapter to the object store: files under a folder, or a bucket of any S3-compatible server.

timeout, retry: the bucket's (engine.bucket); errors of local files are raised at once.
cancel: an interrupted write leaves a draft that nothing reads and the next write replaces.
duplicate: a name is its content, so a second write of the same thing writes nothing; a folder
    that is damaged in the store or in the cache is replaced.
partial write: local files and folders are renamed into place; in a bucket a folder counts only
    once its manifest, written last, is there.
"""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from engine.artefact import (
    MANIFEST,
    ArtefactCorrupt,
    copy_sealed,
    is_sealed,
    manifest_of,
    sha256_of,
    verify,
)
from engine.bucket import Bucket, Listed
from engine.protocol import write_atomically


class ObjectMissing(Exception):
    """The object store has no such object."""


class ObjectStore:
    """Sealed folders and small documents, by key."""

    def __init__(self, root: str, cache: Path) -> None:
        self._cache = cache
        self.is_local = "://" not in root
        self.root = str(Path(root).absolute()) if self.is_local else root.rstrip("/")
        if not self.is_local:
            self._bucket = Bucket(self.root)

    def uri(self, key: str) -> str:
        """Address of the key."""
        return f"{self.root}/{key}"

    def put_folder(self, folder: Path, key: str) -> str:
        """Address of the sealed folder, stored under the key. Raises OSError."""
        if self.is_local:
            target = Path(self.root, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_sealed(folder, target)
        else:
            self._put_in_bucket(folder, key)
        return self.uri(key)

    def fetch_folder(self, key: str, digest: str) -> Path:
        """Local folder with the sealed folder's bytes, verified against the digest.

        Raises ObjectMissing, or engine.artefact.ArtefactCorrupt.
        """
        if not self.has(f"{key}/{MANIFEST}"):
            raise ObjectMissing(f"the object store has no {self.uri(key)}; materialise it again")
        if not self.is_local:
            return self._cached(key, digest)
        folder = Path(self.root, key)
        verify(folder, digest)
        return folder

    def put_file(self, file: Path, key: str, *, is_spare: bool = False) -> str:
        """Address of the file, stored under the key; a spare one may be gone afterwards. Raises
        OSError."""
        # The key is made of the content; an equal size tells that the copy was not cut.
        if self._size(key) == file.stat().st_size:
            return self.uri(key)
        if self.is_local:
            target = Path(self.root, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            # Its own, because another process may write the same file at this moment.
            draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.draft")
            try:
                (shutil.move if is_spare else shutil.copyfile)(file, draft)
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
        else:
            self._bucket.upload(file, key)
        return self.uri(key)

    def put_text(self, key: str, text: str) -> str:
        """Address of the document, stored under the key. Raises OSError."""
        if self.is_local:
            target = Path(self.root, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, text)
        else:
            self._bucket.put(key, text.encode())
        return self.uri(key)

    def get_text(self, key: str) -> str:
        """The document. Raises ObjectMissing."""
        try:
            if self.is_local:
                return Path(self.root, key).read_text()
            return self._bucket.get(key).decode()
        except FileNotFoundError:
            raise ObjectMissing(f"the object store has no {self.uri(key)}") from None

    def get_file(self, key: str, file: Path) -> None:
        """Bring the file under the key here, whole. Raises OSError."""
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.draft")
        try:
            if self.is_local:
                shutil.copyfile(Path(self.root, key), draft)
            else:
                self._bucket.download(key, draft)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        if self.is_local:
            return Path(self.root, key).exists()
        return self._bucket.size(key) is not None

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and bytes of every file under the prefix, in order."""
        yield from ((each.key, each.size) for each in self.listed(prefix))

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Every file under the prefix, in order of the keys."""
        if not self.is_local:
            yield from self._bucket.listed(prefix)
            return
        root = Path(self.root)
        for path in sorted(Path(root, prefix).rglob("*")):
            if path.is_file():
                there = path.stat()
                yield Listed(str(path.relative_to(root)), there.st_size, there.st_mtime)

    def delete(self, key: str) -> None:
        """Remove the file under the key, if it is there. Raises OSError."""
        if self.is_local:
            Path(self.root, key).unlink(missing_ok=True)
        else:
            self._bucket.delete([key])

    def delete_folder(self, key: str, first: str = MANIFEST) -> None:
        """Remove every file under the key: first the one without which the folder does not count.

        Raises OSError.
        """
        self.delete(f"{key}/{first}")
        if not self.is_local:
            self._bucket.delete([name for name, _ in self._bucket.walk(f"{key}/")])
        elif (folder := Path(self.root, key)).exists():
            shutil.rmtree(folder)

    def _size(self, key: str) -> int | None:
        """Bytes of the file under the key; None where there is none."""
        if self.is_local:
            path = Path(self.root, key)
            return path.stat().st_size if path.is_file() else None
        return self._bucket.size(key)

    def _put_in_bucket(self, folder: Path, key: str) -> None:
        wanted = {**manifest_of(folder), MANIFEST: sha256_of(folder / MANIFEST)}
        stored = self._stored(key)
        if stored == wanted:
            return
        # The manifest goes first and comes last: without it the folder does not count.
        wrong = {name for name, digest in stored.items() if wanted.get(name) != digest}
        stale = sorted(wrong | ({MANIFEST} & stored.keys()), key=lambda name: name != MANIFEST)
        for name in stale:
            self._bucket.delete([f"{key}/{name}"])
        missing = [n for n in wanted if n != MANIFEST and stored.get(n) != wanted[n]]
        for name in [*missing, MANIFEST]:
            self._bucket.upload(folder / name, f"{key}/{name}")

    def _stored(self, key: str) -> dict[str, str]:
        """SHA-256 by relative path of the folder's files in the bucket, as they are read back."""
        return {
            name.removeprefix(f"{key}/"): self._bucket.sha256(name)
            for name, _ in self._bucket.walk(f"{key}/")
        }

    def _cached(self, key: str, digest: str) -> Path:
        """Local copy of the bucket's folder, fetched unless a whole one is there."""
        target = self._cache / digest
        if is_sealed(target, digest):
            return target
        draft = target.with_name(f".{target.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        self._bucket.download_folder(key, draft)
        try:
            verify(draft, digest)
        except ArtefactCorrupt as error:
            shutil.rmtree(draft)
            raise ArtefactCorrupt(f"{self.uri(key)} was fetched damaged: {error}") from error
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        return target


def size_of(folder: Path) -> int:
    """Bytes of all files in the folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
