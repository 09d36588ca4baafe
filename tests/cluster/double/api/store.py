"""The objects of the cluster, their revisions, and the history watches read."""

import copy
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.cluster.double.api.resource_types import Object, ResourceType

Key = tuple[str, str]


@dataclass(frozen=True)
class Change:
    """One write: the object after it, or before its removal."""

    revision: int
    kind: str
    resource: ResourceType
    item: Object
    previous: Object | None = None


Listener = Callable[[Change], None]


def timestamp(moment: float) -> str:
    """RFC 3339 in whole seconds, as `metav1.Time` writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp()


class Store:
    """Objects by type and key. What is stored is never changed in place."""

    def __init__(self):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.revision = 1
        self.compacted = 0
        self.skew_s = 0.0
        self.history: deque[Change] = deque(maxlen=20_000)
        self._objects: dict[ResourceType, dict[Key, Object]] = {}
        self._listeners: list[Listener] = []

    def now(self) -> float:
        """The server's clock, in seconds since the epoch."""
        return time.time() + self.skew_s

    def timestamp(self) -> str:
        """The server's clock as API objects write it."""
        return timestamp(self.now())

    def subscribe(self, listener: Listener) -> None:
        """Calls the listener after each write, under the store's lock."""
        with self.lock:
            self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Stops calling the listener."""
        with self.lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def read(self, resource: ResourceType, namespace: str, name: str) -> Object | None:
        """The stored object, not to be changed."""
        with self.lock:
            return self._objects.get(resource, {}).get((namespace, name))

    def items(self, resource: ResourceType, namespace: str = "") -> list[Object]:
        """The stored objects in order of namespace and name, not to be changed."""
        with self.lock:
            result = sorted(self._objects.get(resource, {}).items())
        return [item for key, item in result if namespace in ("", key[0])]

    def everything(self) -> list[tuple[ResourceType, Object]]:
        """Every stored object with its type."""
        with self.lock:
            return [
                (kind, item) for kind, result in self._objects.items() for item in result.values()
            ]

    def write(self, resource: ResourceType, item: Object) -> Object:
        """Stores the object under a new revision."""
        with self.changed:
            meta = item["metadata"]
            key = (meta.get("namespace", ""), meta["name"])
            previous = self._objects.setdefault(resource, {}).get(key)
            self.revision += 1
            stored = copy.deepcopy(item)
            stored["metadata"]["resourceVersion"] = str(self.revision)
            self._objects[resource][key] = stored
            self._tell("MODIFIED" if previous else "ADDED", resource, stored, previous)
            return stored

    def remove(self, resource: ResourceType, item: Object) -> Object:
        """Removes the object; watchers see its last state under a new revision."""
        with self.changed:
            meta = item["metadata"]
            previous = self._objects[resource].pop((meta.get("namespace", ""), meta["name"]))
            self.revision += 1
            last = {**item, "metadata": {**meta, "resourceVersion": str(self.revision)}}
            self._tell("DELETED", resource, last, previous)
            return last

    def compact(self) -> None:
        """Forgets the history, so that older revisions are gone."""
        with self.changed:
            self.history.clear()
            self.revision += 1
            self.compacted = self.revision

    def _tell(
        self, kind: str, resource: ResourceType, item: Object, previous: Object | None
    ) -> None:
        change = Change(self.revision, kind, resource, item, previous)
        if len(self.history) == self.history.maxlen:
            self.compacted = self.history[0].revision
        self.history.append(change)
        for listener in list(self._listeners):
            listener(change)
        self.changed.notify_all()
