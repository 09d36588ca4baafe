"""Ends a PostgreSQL server once its tests are gone, however they ended:
`python -m tests.postgresql_watch PID FOLDER`."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil

POLL_S = 1.0


def main(tests: int, folder: Path) -> None:
    """Return once the process of the tests and the server over the folder have ended."""
    while psutil.pid_exists(tests):
        time.sleep(POLL_S)
    try:
        postmaster = int((folder / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGINT)
    except (OSError, ValueError, IndexError):
        return


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
