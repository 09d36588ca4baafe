"""No orphans: a child process that the kernel ends together with its parent."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Loaded here, because nothing should be loaded in a child between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """In a new child, before exec: ask for SIGTERM when the parent dies, also by kill -9."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
