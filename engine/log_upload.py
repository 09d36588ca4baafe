"""Upload the files of a folder to a bucket as they grow: `python -m engine.log_upload FOLDER URI
[MEGABYTES]`.

It runs beside a replica of a service, whose request log is the data of the next turn. The megabytes
bound what all replicas, those that are gone too, have beside one another in the bucket, which is
what lies under the parent of the address; the oldest files are deleted.
timeout, X
cancel: SIGTERM sends what is new, once more, and ends.
duplicate: a file replaces its earlier copy. Two replicas that delete the same file at once do no
    harm.
partial write: a copy appears whole; the last line of it may be cut.
"""

import logging
import signal
import sys
import threading
from pathlib import Path

from engine.bucket import Bucket

EVERY_S = 5.0
BYTES_A_SECOND = 1_000_000
"""Most that is sent in the long run: a long log is sent less often."""
PARTS = 16
"""A replica looks whether the bound is kept whenever it has sent such a part of it."""
log = logging.getLogger("engine.log_upload")


class LogUpload:
    """A folder and what of it is in the bucket."""

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self._folder, self._bucket = folder, bucket
        self._sent: dict[str, tuple[int, int]] = {}

    def send(self) -> int:
        """Bytes of what has changed, which is now sent. Raises OSError."""
        total = 0
        for file in sorted(p for p in self._folder.glob("*.jsonl*") if p.is_file()):
            # Taken before the upload: what is written meanwhile is sent at the next time.
            there = file.stat()
            mark = (there.st_size, there.st_mtime_ns)
            if there.st_size and self._sent.get(file.name) != mark:
                self._bucket.upload(file, file.name)
                self._sent[file.name] = mark
                total += there.st_size
        return total


class Bound:
    """The most that a service may keep in the bucket."""

    def __init__(self, service: Bucket, most: int) -> None:
        """`most` are the bytes of all under the service's address."""
        self._service, self._most = service, most
        self._sent = most

    def keep(self, sent: int) -> list[str]:
        """Keys that were the oldest and are deleted; `sent` are the bytes that were sent since the
        call before. Raises OSError."""
        self._sent += sent
        if self._sent < self._most // PARTS:
            return []
        # Before anything fails: a bucket that refuses to delete is not asked again at once.
        self._sent = 0
        listed = list(self._service.listed())
        total, old = sum(each.size for each in listed), []
        for each in sorted(listed, key=lambda each: each.modified):
            if total <= self._most:
                break
            old.append(each.key)
            total -= each.size
        self._service.delete(old)
        return old


def main(argv: list[str]) -> int:
    """Send until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    upload, bound = LogUpload(Path(argv[1]), Bucket(argv[2])), None
    if len(argv) > 3:
        bound = Bound(Bucket(argv[2].rpartition("/")[0]), int(argv[3]) * 1_000_000)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    is_last, sent = False, 0
    while True:
        try:
            sent = upload.send()
            if bound is not None and (old := bound.keep(sent)):
                log.info("%d of the oldest files are deleted from the bucket", len(old))
        except OSError as error:
            log.warning("the log has to wait: %s", error)
        if is_last:
            return 0
        is_last = ending.wait(max(EVERY_S, sent / BYTES_A_SECOND))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
