"""What every controller is: a queue of keys that changes fill and one thread reconciles."""

import threading
import time
import traceback
from collections.abc import Iterable

from tests.cluster.double.api.client import Client
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.resource_types import Object
from tests.cluster.double.api.store import Change

Key = tuple[str, str]

RETRY_S = 0.05


def key_of(item: Object) -> Key:
    """Namespace and name."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def owner_of(item: Object, kind: str) -> Object | None:
    """The reference to the controlling owner of this kind."""
    owners = item["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner["kind"] == kind), None)


class Controller:
    """Reconciles keys one at a time, at once when something changed or later when asked."""

    def __init__(self, api: Client):
        self.api = api
        self.failures: list[str] = []
        self._due: dict[Key, float] = {}
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=type(self).__name__)
        api.store.subscribe(self._listen)

    def keys(self, change: Change) -> Iterable[Key]:
        """Keys to reconcile after this change. Called under the store's lock."""
        raise NotImplementedError

    def reconcile(self, key: Key) -> None:
        """Moves the object one step towards what it asks for."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stops the thread after the key it is at."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread.ident and self._thread is not threading.current_thread():
            self._thread.join()
        self.api.store.unsubscribe(self._listen)

    def later(self, key: Key, seconds: float = 0) -> None:
        """Reconciles the key after so many seconds, or sooner if that is due already."""
        due = time.monotonic() + seconds
        with self._wake:
            self._due[key] = min(due, self._due.get(key, due))
            self._wake.notify_all()

    def _listen(self, change: Change) -> None:
        for key in self.keys(change):
            self.later(key)

    def _next(self) -> Key | None:
        with self._wake:
            while not self._closing:
                key = min(self._due, key=self._due.__getitem__, default=None)
                wait = None if key is None else self._due[key] - time.monotonic()
                if key is not None and wait is not None and wait <= 0:
                    del self._due[key]
                    return key
                self._wake.wait(wait)
        return None

    def _run(self) -> None:
        while (key := self._next()) is not None:
            try:
                self.reconcile(key)
            except ApiError as error:
                # Gone while it was reconciled, or refused for now.
                if error.code in (403, 409):
                    self.later(key, RETRY_S)
                elif error.code != 404:
                    self.failures.append(traceback.format_exc())
            except Exception:
                self.failures.append(traceback.format_exc())
