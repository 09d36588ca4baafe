"""The `orrery up` that runs on a state folder: where it answers, whatever this shell's settings."""

import json

from engine import lease
from engine.protocol import write_atomically
from resources.settings import Settings

ADDRESSES = ("host", "port", "router_port", "router_grpc_port", "public_url")


def note_addresses(settings: Settings) -> None:
    """Write down where this one answers. Raises OSError."""
    addresses = {name: getattr(settings, name) for name in ADDRESSES}
    write_atomically(settings.state / "up" / "addresses.json", json.dumps(addresses))


def running(settings: Settings) -> Settings | None:
    """The settings with the addresses of what runs on their state folder; None where nothing
    does."""
    if lease.holder(settings.state / "up") is None:
        return None
    try:
        addresses = json.loads((settings.state / "up" / "addresses.json").read_text())
    except (OSError, ValueError):
        return settings  # It has only just begun.
    return settings.model_copy(
        update={name: addresses[name] for name in ADDRESSES if name in addresses}
    )
