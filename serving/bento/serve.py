"""The answering process of this Bento: `python serve.py PORT`.

SIGTERM ends it once the requests in progress are answered.
"""

import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from http_protocol import HttpProtocol

GRACE_S = 10
"""How long requests that are under way may take once the server is to end."""


def configuration(app: Any, port: int) -> uvicorn.Config:
    """How the application is served on the port."""
    return uvicorn.Config(
        app,
        host=os.environ.get("PREDICT_HOST", "127.0.0.1"),
        port=port,
        http=HttpProtocol,
        ws="none",
        interface="asgi3",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_level="warning",
        # gRPC starts and ends with it.
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
    )


def listening(configured: uvicorn.Config, place: str | None) -> list[socket.socket]:
    """The port's socket, and one of this machine alone where a router asks for it."""
    sockets = [configured.bind_socket()]
    if place:
        # The replica before in this place may have been killed.
        Path(place).unlink(missing_ok=True)
        beside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        beside.bind(place)
        # At once, because who asks the port whether all is ready looks for this one next.
        beside.listen(configured.backlog)
        sockets.append(beside)
    return sockets


def serve(port: int) -> None:
    """Answer until SIGTERM. Exits with an error where it cannot listen."""
    # Before the model is loaded, because the first process of a container ignores SIGTERM without a
    # handler. The server has one of its own while it answers, and calls this one in the end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    from answer import load_app

    app = load_app()
    # Collections of garbage leave what is loaded alone, which takes them no time then, and leaves
    # the memory shared that is.
    gc.collect()
    gc.freeze()
    configured = configuration(app, port)
    sockets = listening(configured, os.environ.get("PREDICT_SOCKET"))
    uvicorn.Server(configured).run(sockets)


def _end(*_: object) -> None:
    # Threads of models and of gRPC may be in the middle of something.
    os._exit(0)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
