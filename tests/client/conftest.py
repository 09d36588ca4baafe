"""The client before real gateways: one in this process, and that of a running `orrery up`."""

from collections.abc import Iterator

import pytest

import orrery
from tests.api.conftest import flowers_folder, gateway, gateway_folder, up  # noqa: F401
from tests.client.relay import Relay


@pytest.fixture(scope="module")
def client(up) -> Iterator[orrery.Client]:  # noqa: F811
    """A client of the running `orrery up`."""
    with orrery.connect(up.url, up.key) as connected:
        yield connected


@pytest.fixture
def relay(up) -> Iterator[Relay]:  # noqa: F811
    """A way to the running `orrery up` that can be cut."""
    opened = Relay(up.url)
    yield opened
    opened.close()
