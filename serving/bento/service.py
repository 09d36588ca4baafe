"""The Bento's service: BentoML keeps the process, and a server of its own answers predictions.

`bentoml serve` gives health and documentation on its port and forwards the rest; a router may
send predictions straight to PREDICT_PORT, which costs a tenth.
"""

import asyncio
import os
import socket
import sys
import threading
import time
from pathlib import Path

import bentoml

HERE = Path(__file__).resolve().parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# The supervisor and its worker both import this; the worker inherits the variable, so they agree.
PORT = int(os.environ.setdefault("PREDICT_PORT", str(_free_port())))


@bentoml.service(
    name="predictor",
    workers=1,
    http={"proxy_port": PORT},
    endpoints={"livez": "/livez", "readyz": "/readyz"},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    traffic={"timeout": 60},
)
class Predictor:
    """Answers `POST /predict`; see `/docs.json`."""

    def __command__(self) -> list[str]:
        return [sys.executable, str(HERE / "keeper.py"), str(PORT)]

    @bentoml.on_startup
    async def watch(self) -> None:
        """End with the supervisor, and end when the server is lost for good."""
        parent = os.getppid()
        threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
        self.watcher = asyncio.create_task(self._exit_with_server())

    async def _exit_with_server(self) -> None:
        while (server := self.bento_service.context.state.get("proc")) is None:
            await asyncio.sleep(0.2)
        await server.wait()
        os._exit(1)

    async def __is_ready__(self) -> bool:
        server = self.bento_service.context.state.get("proc")
        return server is not None and server.returncode is None


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
