"""What is asked of each service: its deployment, and the stop beside it.

timeout, retry, cancel: local files have none.
duplicate: a file is read again when it has changed, or could not be read.
partial write: files are renamed into place, and one that cannot be read changes nothing.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from serving.contract import STOP, Deployment, StopOrder
from serving.fleet import RECORD

DEPLOYMENT = "deployment.json"
log = logging.getLogger("serving.orders")


@dataclass(frozen=True)
class Order:
    """What is asked of a service: a deployment, or with none its end."""

    deployment: Deployment | None = None
    stop: StopOrder | None = None
    is_unreadable: bool = False


NOTHING, UNREADABLE = Order(), Order(is_unreadable=True)


class Version(NamedTuple):
    """What changes when a file is replaced, or may be read."""

    inode: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """That of the file; None where there is none."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(status.st_ino, status.st_size, status.st_ctime_ns)


class Orders:
    """The orders in a folder, each of which is read when it has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[Version | None, Version | None], Order]] = {}

    def read(self) -> dict[str, Order]:
        """What is asked of each service that is deployed, or was when the reconciler ended."""
        orders = {}
        with os.scandir(self._folder) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
        for name in names:
            order = self._order(name)
            if order is not NOTHING or (self._folder / name / RECORD).exists():
                orders[name] = order
        self._known = {name: known for name, known in self._known.items() if name in orders}
        return orders

    def _order(self, name: str) -> Order:
        path, stop = self._folder / name / DEPLOYMENT, self._folder / name / STOP
        # Looked at before they are read: what changes meanwhile is read at the next look.
        versions = Version.of(path), Version.of(stop)
        before, order = self._known.get(name, (None, NOTHING))
        if versions != before or order.is_unreadable:
            order = _read(path, stop)
            self._known[name] = versions, order
        return order


def _read(path: Path, beside: Path) -> Order:
    """The order of the deployment in the file, and of the stop beside it."""
    try:
        deployment = Deployment.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return NOTHING
    except (OSError, ValueError):
        log.exception("%s cannot be read; the service stays as it is", path)
        return UNREADABLE
    try:
        stop = StopOrder.model_validate_json(beside.read_bytes())
    except FileNotFoundError:
        return Order(deployment)
    except (OSError, ValueError):
        log.exception("%s cannot be read; nothing is stopped", beside)
        return Order(deployment)
    return Order(deployment, stop)
