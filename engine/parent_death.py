"""No orphans: a process that ends together with the one that it works for."""

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
# Loaded here, because nothing should be loaded in a child between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """In a new child, before exec: ask for SIGTERM when the parent dies, also by kill -9."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_when_closed(pipe: int) -> None:
    """SIGTERM to this process when nobody holds the writing end of the pipe any more, because its
    owner has ended, also by kill -9. For a process whose parent is another one."""
    threading.Thread(target=_end, args=(pipe,), name="owner", daemon=True).start()


def _end(pipe: int) -> None:
    while os.read(pipe, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
