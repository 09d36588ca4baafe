"""The gRPC server of a service, which starts and ends with its ASGI application."""

from typing import Any

from open_inference.models import ServedModel

STOP_WITHIN_S = 5.0
"""How long requests that are under way may take once the server is to end."""


class Lifespan:
    """ASGI's lifespan events: gRPC is answered from startup to shutdown."""

    def __init__(self, served: ServedModel, host: str, port: int | None) -> None:
        """Without a port nothing is answered."""
        self._served, self.port = served, port
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def live(self, receive: Any, send: Any) -> None:
        """Answer the events, from the first to the last."""
        await receive()
        server = None
        if self.port:
            # Loaded only where it is asked for, because it costs memory and time.
            from open_inference.rpc import started

            try:
                server = await started(self._served, self._address)
            except (OSError, RuntimeError) as error:
                text = f"gRPC cannot be answered at {self._address}: {error}"
                await send({"type": "lifespan.startup.failed", "message": text})
                return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if server is not None:
            await server.stop(STOP_WITHIN_S)
        await send({"type": "lifespan.shutdown.complete"})
