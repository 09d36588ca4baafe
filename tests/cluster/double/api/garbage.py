"""Garbage collection by owner references, and the end of namespaces."""

from collections.abc import Iterable

from tests.cluster.double.api.registry import FOREGROUND
from tests.cluster.double.api.resource_types import BY_KIND, Object, ResourceType
from tests.cluster.double.api.store import Change
from tests.cluster.double.controllers.controller import Controller, Key, key_of


class GarbageCollector(Controller):
    """Deletes what has lost its owners, and lets owners go once their dependents have gone.

    Keys are pairs of an object's uid and the uid it depends on, either of which may be empty.
    """

    def keys(self, change: Change) -> Iterable[Key]:
        meta = change.item["metadata"]
        owners = [owner["uid"] for owner in meta.get("ownerReferences") or ()]
        if change.kind == "DELETED":
            yield "", meta["uid"]
            for uid in owners:
                yield uid, ""
        elif owners or FOREGROUND in meta.get("finalizers", ()):
            yield meta["uid"], ""

    def reconcile(self, key: Key) -> None:
        uid, owner = key
        with self.api.store.lock:
            living = {item["metadata"]["uid"]: (kind, item) for kind, item in self._everything()}
            if owner:
                for kind, item in self.api.registry.dependents(owner):
                    self._collect(kind, item, living)
            elif uid in living:
                kind, item = living[uid]
                if FOREGROUND in item["metadata"].get("finalizers", ()):
                    self._foreground(kind, item)
                self._collect(kind, item, living)

    def _everything(self) -> list[tuple[ResourceType, Object]]:
        return self.api.store.everything()

    def _collect(
        self, kind: ResourceType, item: Object, living: dict[str, tuple[ResourceType, Object]]
    ) -> None:
        owners = item["metadata"].get("ownerReferences") or ()
        if not owners or item["metadata"].get("deletionTimestamp"):
            return
        if not any(owner["uid"] in living for owner in owners):
            namespace, name = key_of(item)
            self.api.delete(kind.kind, name, namespace, policy="Background")

    def _foreground(self, kind: ResourceType, item: Object) -> None:
        held = False
        for each, dependent in self.api.registry.dependents(item["metadata"]["uid"]):
            namespace, name = key_of(dependent)
            if not dependent["metadata"].get("deletionTimestamp"):
                self.api.delete(each.kind, name, namespace, policy="Foreground")
                held = held or self.api.find(each.kind, name, namespace) is not None
            else:
                held = True
        if not held:
            namespace, name = key_of(item)
            self.api.remove_finalizer(kind.kind, name, namespace, FOREGROUND)


class NamespaceController(Controller):
    """Empties namespaces that are deleted, and then removes them."""

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.kind == "Namespace":
            yield "", change.item["metadata"]["name"]
        elif change.kind == "DELETED" and change.resource.namespaced:
            yield "", change.item["metadata"]["namespace"]
        elif change.kind == "ADDED" and change.resource.kind == "Namespace":
            yield "", change.item["metadata"]["name"]

    def reconcile(self, key: Key) -> None:
        _, name = key
        with self.api.store.lock:
            namespace = self.api.find("Namespace", name)
            if namespace is None:
                return
            if not namespace["metadata"].get("deletionTimestamp"):
                if not self.api.find("ServiceAccount", "default", name):
                    meta = {"name": "default", "namespace": name}
                    self.api.create(
                        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
                    )
                return
            inside = [
                (kind, item)
                for kind in BY_KIND.values()
                if kind.namespaced
                for item in self.api.store.items(kind, name)
            ]
            for kind, item in inside:
                if not item["metadata"].get("deletionTimestamp"):
                    self.api.delete(kind.kind, item["metadata"]["name"], name, policy="Background")
            if not any(
                self.api.store.items(kind, name) for kind in BY_KIND.values() if kind.namespaced
            ):
                self.api.registry.remove_namespace(name)
