"""The door to the object store: files under a folder, or a bucket of any S3-compatible server.

timeout: pyarrow's (S3: 60 s for a connection).
retry: pyarrow repeats failed S3 calls; local errors are raised at once.
cancel: an interrupted write leaves a draft that nothing reads and the next write replaces.
duplicate: a name is its content, so a second write of the same thing writes nothing; a folder
    that is damaged in the store or in the cache is replaced.
partial write: local files and folders are renamed into place; in a bucket a folder counts only
    once its manifest, written last, is there.
"""

import hashlib
import shutil
from pathlib import Path

import pyarrow.fs as pafs

from engine.artefact import (
    MANIFEST,
    ArtefactCorrupt,
    copy_sealed,
    is_sealed,
    manifest_of,
    sha256_of,
    verify,
)
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
            self._system, self._base = pafs.FileSystem.from_uri(self.root)

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

    def put_file(self, file: Path, key: str) -> str:
        """Address of the file, stored under the key. Raises OSError."""
        if self._size(key) == file.stat().st_size:
            return self.uri(key)
        if self.is_local:
            target = Path(self.root, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{target.name}.draft")
            try:
                shutil.copyfile(file, draft)
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
        else:
            self._upload(file, key)
        return self.uri(key)

    def put_text(self, key: str, text: str) -> str:
        """Address of the document, stored under the key. Raises OSError."""
        if self.is_local:
            target = Path(self.root, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, text)
        else:
            with self._system.open_output_stream(f"{self._base}/{key}") as stream:
                stream.write(text.encode())
        return self.uri(key)

    def get_text(self, key: str) -> str:
        """The document. Raises ObjectMissing."""
        try:
            if self.is_local:
                return Path(self.root, key).read_text()
            with self._system.open_input_stream(f"{self._base}/{key}") as stream:
                return stream.read().decode()
        except FileNotFoundError:
            raise ObjectMissing(f"the object store has no {self.uri(key)}") from None

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        if self.is_local:
            return Path(self.root, key).exists()
        info = self._system.get_file_info(f"{self._base}/{key}")
        return info.type != pafs.FileType.NotFound

    def _size(self, key: str) -> int | None:
        """Bytes of the file under the key; None where there is none."""
        if self.is_local:
            path = Path(self.root, key)
            return path.stat().st_size if path.is_file() else None
        return self._system.get_file_info(f"{self._base}/{key}").size

    def _put_in_bucket(self, folder: Path, key: str) -> None:
        wanted = {**manifest_of(folder), MANIFEST: sha256_of(folder / MANIFEST)}
        stored = self._stored(key)
        if stored == wanted:
            return
        # The manifest goes first and comes last: without it the folder does not count.
        wrong = {name for name, digest in stored.items() if wanted.get(name) != digest}
        for name in sorted(wrong | ({MANIFEST} & stored.keys()), key=lambda n: n != MANIFEST):
            self._system.delete_file(f"{self._base}/{key}/{name}")
        missing = [n for n in wanted if n != MANIFEST and stored.get(n) != wanted[n]]
        for name in [*missing, MANIFEST]:
            self._upload(folder / name, f"{key}/{name}")

    def _stored(self, key: str) -> dict[str, str]:
        """SHA-256 by relative path of the folder's files in the bucket, as they are read back."""
        selector = pafs.FileSelector(f"{self._base}/{key}", recursive=True, allow_not_found=True)
        found = self._system.get_file_info(selector)
        root = f"{self._base}/{key}/"
        return {
            info.path.removeprefix(root): self._sha256_of(info.path)
            for info in found
            if info.type == pafs.FileType.File
        }

    def _sha256_of(self, path: str) -> str:
        with self._system.open_input_stream(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _upload(self, file: Path, key: str) -> None:
        pafs.copy_files(str(file), f"{self._base}/{key}", pafs.LocalFileSystem(), self._system)

    def _cached(self, key: str, digest: str) -> Path:
        """Local copy of the bucket's folder, fetched unless a whole one is there."""
        target = self._cache / digest
        if is_sealed(target, digest):
            return target
        draft = target.with_name(f".{target.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        pafs.copy_files(f"{self._base}/{key}", str(draft), self._system, pafs.LocalFileSystem())
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
