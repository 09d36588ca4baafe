"""Keeps the answering process where BentoML starts it: starts it anew when it dies, ends it when
asked or orphaned.

Only the standard library is loaded here, so that a new answering process is forked in a moment.
"""

import os
import signal
import sys
import threading
import time

QUICK_S = 5.0
MOST_QUICK_DEATHS = 3


class Keeper:
    """One child that serves on the port, for as long as the parent lives."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._parent = os.getppid()
        self._stopping = False
        self._child = 0

    def keep(self) -> int:
        """Exit code, once the server has ended for good."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        born, quick_deaths = self._spawn(), 0
        while True:
            pid, _ = os.waitpid(self._child, os.WNOHANG)
            if pid and self._stopping:
                return 0
            if pid:
                quick_deaths = quick_deaths + 1 if time.monotonic() - born < QUICK_S else 0
                if quick_deaths >= MOST_QUICK_DEATHS:
                    sys.stderr.write("the server died at once, three times; giving up\n")
                    return 1
                born = self._spawn()
            if os.getppid() != self._parent and not self._stopping:
                self._stop()
            time.sleep(0.05)

    def _spawn(self) -> float:
        keeper = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        self._child = os.fork()
        if self._child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
            threading.Thread(target=_end_with, args=(keeper,), daemon=True).start()
            from serve import serve

            serve(self._port)
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        return time.monotonic()

    def _stop(self, *_: object) -> None:
        self._stopping = True
        if self._child:
            os.kill(self._child, signal.SIGTERM)


def _end_with(keeper: int) -> None:
    while os.getppid() == keeper:
        time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(Keeper(int(sys.argv[1])).keep())
