"""Upload the files of a folder to a bucket as they grow: `python -m engine.log_upload FOLDER URI`.

It runs beside a service, whose request log is the data of the next turn.
timeout, retry: the bucket's; a file that could not be sent is sent at the next time.
cancel: SIGTERM sends what is new, once more, and ends.
duplicate: a file replaces its earlier copy.
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


def main(argv: list[str]) -> int:
    """Send until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    upload = LogUpload(Path(argv[1]), Bucket(argv[2]))
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    is_last, sent = False, 0
    while True:
        try:
            sent = upload.send()
        except OSError as error:
            log.warning("the log has to wait: %s", error)
        if is_last:
            return 0
        is_last = ending.wait(max(EVERY_S, sent / BYTES_A_SECOND))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
