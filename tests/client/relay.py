"""A way to a server that passes bytes on, until it is cut."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class Relay:
    """Listens on a port of its own and passes everything on to the server of the address."""

    def __init__(self, target: str) -> None:
        place = urlsplit(target)
        self._target = (place.hostname, place.port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self.refusing = 0
        """How many of the next connections end at once."""
        self.refused = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *, refuse: int) -> None:
        """End every connection, and so many of those that come next."""
        self.refusing = refuse
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Listen no more."""
        self.cut(refuse=10**6)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                coming, _ = self._listening.accept()
                if self.refusing:
                    self.refusing -= 1
                    self.refused += 1
                    coming.close()
                    continue
                going = socket.create_connection(self._target)
                self._open |= {coming, going}
                for one, other in ((coming, going), (going, coming)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for each in (one, other):
            self._open.discard(each)
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
