"""How often Dagster's processes ask each other whether anything has changed.

At rest most of what they cost is such questions, once or ten times a second. Every process that
opens the instance asks at these intervals; Dagster has no settings for them.
"""

import importlib

from dagster._grpc import client, server_watcher

FOLLOWED_S = 3.0
"""After a reload the daemon works with the new definitions within so long."""
ALIVE_S = 5.0
"""A code server ends when it has not heard of its owner for several times so long."""
SIGNALLED_S = 1.0
"""gRPC's servers wait in pieces of this, for signals that a waiting thread would not see; Python's
own waits are interrupted by them."""


def ask_seldom() -> None:
    """Let this process ask at these intervals."""
    server_watcher.WATCH_INTERVAL = FOLLOWED_S
    client.CLIENT_HEARTBEAT_INTERVAL = ALIVE_S
    # The types of grpc leave out its private modules.
    vars(importlib.import_module("grpc._common"))["MAXIMUM_WAIT_TIMEOUT"] = SIGNALLED_S
