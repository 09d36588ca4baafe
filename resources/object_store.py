"""The door to the object store: files under a folder, or a bucket of any S3-compatible server.

timeout: pyarrow's (S3: 60 s for a connection).
retry: pyarrow repeats failed S3 calls; local errors are raised at once.
cancel: an interrupted write leaves a draft that nothing reads and the next write replaces.
duplicate: a name is its content, so a second write of the same thing writes nothing.
partial write: local files and folders are renamed into place; in a bucket a folder counts only
    once its manifest, written last, is there.
"""

import shutil
from pathlib import Path

import pyarrow.fs as pafs

from engine.artefact import MANIFEST, copy_sealed, verify
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
        elif not self.has(f"{key}/{MANIFEST}"):
            files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
            for file in [*files, folder / MANIFEST]:
                self._upload(file, f"{key}/{file.relative_to(folder)}")
        return self.uri(key)

    def fetch_folder(self, key: str, digest: str) -> Path:
        """Local folder with the sealed folder's bytes, verified against the digest.

        Raises ObjectMissing, or engine.artefact.ArtefactCorrupt.
        """
        if not self.has(f"{key}/{MANIFEST}"):
            raise ObjectMissing(f"the object store has no {self.uri(key)}; materialise it again")
        if self.is_local:
            folder = Path(self.root, key)
        else:
            folder = self._download(key, self._cache / digest)
        verify(folder, digest)
        return folder

    def put_file(self, file: Path, key: str) -> str:
        """Address of the file, stored under the key. Raises OSError."""
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

    def _upload(self, file: Path, key: str) -> None:
        pafs.copy_files(str(file), f"{self._base}/{key}", pafs.LocalFileSystem(), self._system)

    def _download(self, key: str, target: Path) -> Path:
        if not target.exists():
            draft = target.with_name(f".{target.name}.draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            pafs.copy_files(f"{self._base}/{key}", str(draft), self._system, pafs.LocalFileSystem())
            draft.rename(target)
        return target


def size_of(folder: Path) -> int:
    """Bytes of all files in the folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
