"""In-process access to the cluster's objects, by kind."""

import copy
from collections.abc import Callable
from typing import Any

from tests.cluster.double.api import patches
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.registry import Registry, random_suffix
from tests.cluster.double.api.resource_types import BY_KIND, Object
from tests.cluster.double.api.selectors import field_selector, label_selector


class Client:
    """Reads and writes objects as a client would, without HTTP."""

    def __init__(self, registry: Registry, namespace: str = "default"):
        self.registry = registry
        self.store = registry.store
        self.namespace = namespace

    def _namespace(self, kind: str, namespace: str | None) -> str:
        return (namespace or self.namespace) if BY_KIND[kind].namespaced else ""

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """A copy of the object."""
        where = self._namespace(kind, namespace)
        return copy.deepcopy(self.registry.get(BY_KIND[kind], where, name))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """A copy of the object, or None."""
        try:
            return self.get(kind, name, namespace)
        except ApiError:
            return None

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
    ) -> list[Object]:
        """Copies of the objects in a namespace; `*` means all namespaces."""
        where = "" if namespace == "*" else self._namespace(kind, namespace)
        tests = (label_selector(labels), field_selector(fields))
        result = self.store.items(BY_KIND[kind], where)
        return [copy.deepcopy(item) for item in result if all(test(item) for test in tests)]

    def create(self, item: Object, namespace: str | None = None) -> Object:
        """Creates the object in its own or the given namespace."""
        kind = item["kind"]
        own = (item.get("metadata") or {}).get("namespace")
        where = self._namespace(kind, own or namespace)
        return copy.deepcopy(self.registry.create(BY_KIND[kind], where, item))

    def change(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        change: Callable[[Object], Object],
        subresource: str = "",
    ) -> Object:
        """Replaces the object by what `change` makes of a copy of it, atomically."""
        where = self._namespace(kind, namespace)
        changed = self.registry.update(BY_KIND[kind], where, name, change, subresource)
        return copy.deepcopy(changed)

    def patch(
        self, kind: str, name: str, patch: Object, namespace: str | None = None, subresource=""
    ) -> Object:
        """Merges the patch (RFC 7396) into the object."""
        return self.change(
            kind, name, namespace, lambda item: patches.merge_patch(item, patch), subresource
        )

    def patch_status(
        self, kind: str, name: str, status: Object, namespace: str | None = None
    ) -> Object:
        """Merges the patch (RFC 7396) into the object's status."""
        return self.patch(kind, name, {"status": status}, namespace, "status")

    def set_status(
        self, kind: str, name: str, status: Object, namespace: str | None = None
    ) -> Object | None:
        """Replaces the status of the object unless the object is gone."""
        try:
            return self.change(
                kind, name, namespace, lambda item: {**item, "status": status}, "status"
            )
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def delete(
        self, kind: str, name: str, namespace: str | None = None, **options: Any
    ) -> Object | None:
        """Deletes the object; one that is gone is fine."""
        try:
            where = self._namespace(kind, namespace)
            return self.registry.delete(BY_KIND[kind], where, name, **options)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def remove_finalizer(self, kind: str, name: str, namespace: str | None, finalizer: str) -> None:
        """Takes one finalizer off the object, if both exist."""

        def without(item: Object) -> Object:
            kept = [each for each in item["metadata"].get("finalizers", ()) if each != finalizer]
            item["metadata"]["finalizers"] = kept
            return item

        if self.find(kind, name, namespace):
            self.change(kind, name, namespace, without)

    def event(
        self, item: Object, reason: str, message: str, warning: bool = False, source: str = ""
    ) -> None:
        """Records an Event about the object; a repeated one counts up."""
        meta, now = item["metadata"], self.store.timestamp()
        namespace = meta.get("namespace") or "default"
        about = {
            "apiVersion": item["apiVersion"],
            "kind": item["kind"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        }
        if meta.get("namespace"):
            about["namespace"] = namespace
        same = f"involvedObject.uid={meta['uid']},reason={reason}"
        for known in self.list("Event", namespace, fields=same):
            if known["message"] == message:
                count = {"count": known["count"] + 1, "lastTimestamp": now}
                self.patch("Event", known["metadata"]["name"], count, namespace)
                return
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{random_suffix(16)}", "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "source": {"component": source or "controller"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "reportingComponent": source,
            "reportingInstance": "",
        }
        try:
            self.create(event)
        except ApiError as error:
            # The namespace may be going away.
            if error.code not in (403, 404):
                raise


def owner_reference(owner: Object) -> Object:
    """Reference by which an object names its controller."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition(
    kind: str,
    holds: bool | None,
    reason: str,
    message: str,
    now: str,
    generation: int | None = None,
) -> Object:
    """One status condition."""
    status = {True: "True", False: "False", None: "Unknown"}[holds]
    created: dict[str, Any] = {"type": kind, "status": status, "reason": reason, "message": message}
    created["lastTransitionTime"] = now
    if generation is not None:
        created["observedGeneration"] = generation
    return created


def with_condition(conditions: list[Object] | None, new: Object) -> list[Object]:
    """The conditions with one replaced; its transition time moves only with its status."""
    result = list(conditions or [])
    for place, old in enumerate(result):
        if old["type"] == new["type"]:
            if old["status"] == new["status"] and "lastTransitionTime" in old:
                new = {**new, "lastTransitionTime": old["lastTransitionTime"]}
            result[place] = new
            return result
    return [*result, new]


def has_condition(item: Object, kind: str) -> bool:
    """Whether the object's condition of this type is true."""
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)
