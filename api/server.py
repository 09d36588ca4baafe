"""The gateway as a process: `python -m api.server`."""

import logging
import os
import sys

import uvicorn

from api.app import Gateway
from api.http.protocol import ProblemProtocol
from api.settings import GatewaySettings
from resources.settings import Settings

STOP_WITHIN_S = 5


def main() -> int:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("httpx", "mcp", "alembic", "sqlalchemy"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.umask(0o077)
    settings = Settings()
    gateway = Gateway(settings, GatewaySettings())
    gateway.platform.owner()
    config = uvicorn.Config(
        gateway.guarded(),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        http=ProblemProtocol,
        # Followers of logs never end by themselves.
        timeout_graceful_shutdown=STOP_WITHIN_S,
        server_header=False,
        # Who a client says it forwards for is not known to be true.
        proxy_headers=False,
    )
    uvicorn.Server(config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
