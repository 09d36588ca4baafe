"""The private constants by which Dagster's processes ask each other are there, and are replaced."""

import subprocess
import sys

CHECK = """
from dagster._grpc import client, server_watcher
from grpc import _common
before = (
    server_watcher.WATCH_INTERVAL,
    client.CLIENT_HEARTBEAT_INTERVAL,
    _common.MAXIMUM_WAIT_TIMEOUT,
)
import resources.orchestration.instance
after = (
    server_watcher.WATCH_INTERVAL,
    client.CLIENT_HEARTBEAT_INTERVAL,
    _common.MAXIMUM_WAIT_TIMEOUT,
)
print(before, after)
assert all(now > then for then, now in zip(before, after))
"""


def test_every_process_that_opens_the_instance_asks_less_often_than_dagster_would():
    # A process of its own, because this one may have opened an instance before.
    subprocess.run([sys.executable, "-c", CHECK], check=True)
