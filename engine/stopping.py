"""Asks an engine to end, and waits until it has: `python -m engine.stopping PID_FILE WITHIN_S`.

What Kubernetes runs in a container before it ends the container, whose main process would take the
engine along without a word. Ends with 0 whatever comes of it: the container ends in any case.
"""

import os
import select
import signal
import sys
from pathlib import Path


def stop(pid_file: Path, within_s: float) -> bool:
    """Whether the process that the file names is gone, after SIGTERM and so many seconds."""
    try:
        # A pidfd can be waited for though the process is no child, and it never means a later
        # process with the same id.
        process = os.pidfd_open(int(pid_file.read_text()))
    except (OSError, ValueError):
        return True
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        gone, _, _ = select.select([process], [], [], within_s)
        return bool(gone)
    except ProcessLookupError:
        return True
    finally:
        os.close(process)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m engine.stopping PID_FILE WITHIN_S")
    stop(Path(sys.argv[1]), float(sys.argv[2]))
