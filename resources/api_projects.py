"""The adapter to projects that were created through the API, in a folder that processes share.

Where the object store is a bucket, they lie there, and the folder is this machine's copy: every
gateway, daemon and run pod declares the same.

timeout, retry: the bucket's. cancel: the next `pull` takes up what was missed.
duplicate: a file has one key, and equal content is not fetched again. Of two processes that
    change one file at once, the second is refused.
partial write: an object and a copied file appear whole.
"""

import threading
import time
from pathlib import Path

from engine.bucket import Bucket
from engine.protocol import write_atomically
from resources.settings import Settings

FRESH_S = 2.0


class ApiProjects:
    """Project and suite files, by path relative to the folder."""

    def __init__(self, settings: Settings) -> None:
        self.folder: Path = settings.api_projects
        root = settings.object_root
        self._bucket = Bucket(f"{root.rstrip('/')}/projects") if "://" in root else None
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self._pulled = float("-inf")

    def pull(self, at_most_old_s: float = 0.0) -> None:
        """Bring the folder to what is shared, unless that was done so lately. Raises OSError."""
        if self._bucket is None:
            return
        with self._lock:
            if time.monotonic() - self._pulled < at_most_old_s:
                return
            shared = self._bucket.etags()
            for path, etag in shared.items():
                if self._known.get(path) != etag:
                    self._write(path, self._bucket.get(path))
            for path in self._local() - shared.keys():
                Path(self.folder, path).unlink()
            self._known, self._pulled = shared, time.monotonic()

    def put(self, path: str, content: str) -> None:
        """Share the file; it is here as well. Raises OSError, and then neither has changed:
        ChangedMeanwhile where another process has changed the file since the last `pull`."""
        if self._bucket is not None:
            known = self._known.get(path)
            self._known[path] = self._bucket.put_over(path, content.encode(), known)
        self._write(path, content.encode())
        self._pulled = float("-inf")

    def delete(self, path: str) -> None:
        """Take the file away everywhere. Raises OSError."""
        if self._bucket is not None:
            self._bucket.delete([path])
        Path(self.folder, path).unlink(missing_ok=True)

    def _write(self, path: str, content: bytes) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)

    def _local(self) -> set[str]:
        """Shared files that are here; drafts and locks begin with a dot."""
        files = self.folder.rglob("*.yaml")
        return {str(f.relative_to(self.folder)) for f in files if not f.name.startswith(".")}
