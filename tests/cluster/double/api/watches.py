"""Watches: the changes of a collection as a stream of events."""

import queue
import time
from collections.abc import Callable, Iterator

from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.resource_types import Object, ResourceType, converted
from tests.cluster.double.api.selectors import Test
from tests.cluster.double.api.store import Change, Store

BOOKMARK_S = 10.0


def gone(version: str) -> ApiError:
    """The revision asked for has been compacted."""
    return ApiError(410, f"too old resource version: {version}", "Expired")


class Watch:
    """One client's view of the changes to a collection."""

    def __init__(
        self,
        store: Store,
        resource: ResourceType,
        version: str,
        namespace: str,
        test: Test,
        since: str = "",
        bookmarks: bool = False,
    ):
        self._store = store
        self._resource = resource
        self._version = version
        self._namespace = namespace
        self._test = test
        self._bookmarks = bookmarks
        self._queue: queue.SimpleQueue[Change | Object | None] = queue.SimpleQueue()
        with store.lock:
            if since in ("", "0"):
                for item in store.items(resource, namespace):
                    if test(item):
                        self._queue.put(self._event("ADDED", item))
            elif not since.isdigit():
                raise ApiError(400, f"invalid resource version: {since!r}")
            elif int(since) < store.compacted:
                self._queue.put({"type": "ERROR", "object": gone(since).status()})
                self._queue.put(None)
            else:
                for change in store.history:
                    if change.revision > int(since):
                        self._listen(change)
            store.subscribe(self._listen)

    def _listen(self, change: Change) -> None:
        namespaces = ("", change.item["metadata"].get("namespace", ""))
        if change.resource is self._resource and self._namespace in namespaces:
            self._queue.put(change)

    def stop(self) -> None:
        """Ends the stream."""
        self._store.unsubscribe(self._listen)
        self._queue.put(None)

    def _event(self, kind: str, item: Object) -> Object:
        return {"type": kind, "object": converted(self._resource, item, self._version)}

    def _seen(self, change: Change) -> Object | None:
        """The event for this change; leaving the selection looks like a deletion."""
        was = change.previous is not None and self._test(change.previous)
        now = self._test(change.item)
        if change.kind == "DELETED":
            return self._event("DELETED", change.item) if was or now else None
        if now:
            return self._event("MODIFIED" if was else "ADDED", change.item)
        return self._event("DELETED", change.item) if was else None

    def _bookmark(self) -> Object:
        item = {
            "kind": self._resource.kind,
            "apiVersion": self._resource.at(self._version),
            "metadata": {"resourceVersion": str(self._store.revision), "creationTimestamp": None},
        }
        return {"type": "BOOKMARK", "object": item}

    def events(self, timeout_s: float | None, clock: Callable[[], float] = time.monotonic):
        """Events until the timeout or `stop`."""
        return self._events(None if timeout_s is None else clock() + timeout_s, clock)

    def _events(self, end: float | None, clock: Callable[[], float]) -> Iterator[Object]:
        while True:
            wait = BOOKMARK_S if end is None else min(BOOKMARK_S, end - clock())
            try:
                result = self._queue.get(timeout=max(wait, 0))
            except queue.Empty:
                if self._bookmarks:
                    yield self._bookmark()
                if end is not None and clock() >= end:
                    return
                continue
            if result is None:
                return
            event = self._seen(result) if isinstance(result, Change) else result
            if event:
                yield event
