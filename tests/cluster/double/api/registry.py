"""What happens to an object on its way into the store and out of it."""

import copy
import secrets
import uuid
from collections.abc import Callable

from tests.cluster.double.api import errors
from tests.cluster.double.api.defaults import fill_defaults
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.resource_types import BY_KIND, Object, ResourceType
from tests.cluster.double.api.store import Store, timestamp
from tests.cluster.double.api.validation import validate, validate_change

Admission = Callable[[str, ResourceType, Object, Object | None], None]

FOREGROUND = "foregroundDeletion"
_OWNED_BY_SERVER = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "name",
    "namespace",
    "selfLink",
    "resourceVersion",
)
_FINISHED = ("Succeeded", "Failed")
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def random_suffix(length: int = 5) -> str:
    """Random characters as `generateName` appends them."""
    return "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(length))


def _content(item: Object) -> Object:
    return {key: value for key, value in item.items() if key not in ("metadata", "status")}


class Registry:
    """Create, update, and delete with metadata, admission, defaults, and validation."""

    def __init__(self, store: Store):
        self.store = store
        self.admissions: list[Admission] = []

    def get(self, resource: ResourceType, namespace: str, name: str) -> Object:
        """The stored object, not to be changed."""
        if (item := self.store.read(resource, namespace, name)) is None:
            raise errors.not_found(resource.qualified, name)
        return item

    def create(
        self, resource: ResourceType, namespace: str, item: Object, dry_run: bool = False
    ) -> Object:
        """Stores a new object."""
        item = self._identified(resource, namespace, item)
        meta = item["metadata"]
        with self.store.lock:
            self._check_namespace(resource, meta)
            if self.store.read(resource, meta.get("namespace", ""), meta["name"]):
                raise errors.already_exists(resource.qualified, meta["name"])
            if resource.status:
                item.pop("status", None)
            self._admit("CREATE", resource, item, None)
            fill_defaults(resource, item)
            validate(resource, item)
            return {**item} if dry_run else self.store.write(resource, item)

    def _identified(self, resource: ResourceType, namespace: str, item: Object) -> Object:
        item = copy.deepcopy(item)
        item.update(apiVersion=resource.api_version, kind=resource.kind)
        meta = item["metadata"] = dict(item.get("metadata") or {})
        if meta.get("resourceVersion"):
            raise ApiError(400, "resourceVersion should not be set on objects to be created")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + random_suffix()
        if not meta.get("name"):
            causes = [("metadata.name", "Required value: name or generateName is required")]
            raise errors.invalid(resource.kind, "", causes)
        if resource.namespaced and meta.setdefault("namespace", namespace) != namespace:
            raise ApiError(400, "the namespace of the object does not match the request")
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(field, None)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = self.store.timestamp()
        if resource.spec:
            meta["generation"] = 1
        return item

    def _check_namespace(self, resource: ResourceType, meta: Object) -> None:
        if not resource.namespaced:
            return
        result = self.get(BY_KIND["Namespace"], "", meta["namespace"])
        if result["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {meta['namespace']}"
            raise errors.forbidden(
                resource.qualified, meta["name"], f"{why} because it is being terminated"
            )

    def _admit(
        self, operation: str, resource: ResourceType, item: Object, old: Object | None
    ) -> None:
        for admission in self.admissions:
            admission(operation, resource, item, old)

    def update(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        change: Callable[[Object], Object],
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Replaces an object by what `change` makes of a copy of it."""
        with self.store.lock:
            old = self.get(resource, namespace, name)
            new = change(copy.deepcopy(old))
            new["metadata"] = meta = dict(new.get("metadata") or {})
            self._check_current(resource, old, meta)
            if subresource == "status":
                new = {**old, "status": new.get("status") or {}, "metadata": old["metadata"]}
            else:
                new = self._main(resource, old, new)
            if new == old:
                return old
            if subresource != "status":
                self._admit("UPDATE", resource, new, old)
                fill_defaults(resource, new)
                validate_change(resource, old, new)
                if resource.spec and _content(new) != _content(old):
                    new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
            validate(resource, new)
            if dry_run or new == old:
                return new
            return self._settled(resource, new)

    def _check_current(self, resource: ResourceType, old: Object, meta: Object) -> None:
        was = old["metadata"]
        version = meta.get("resourceVersion")
        if version and version != was["resourceVersion"]:
            raise errors.conflict(resource.qualified, was["name"])
        if meta.get("uid") and meta["uid"] != was["uid"]:
            raise errors.conflict(resource.qualified, was["name"])
        if meta.get("name", was["name"]) != was["name"]:
            raise ApiError(400, "the name of the object does not match the name on the URL")

    def _main(self, resource: ResourceType, old: Object, new: Object) -> Object:
        new = {**new, "apiVersion": resource.api_version, "kind": resource.kind}
        meta = new["metadata"]
        for field in _OWNED_BY_SERVER:
            meta.pop(field, None)
            if field in old["metadata"]:
                meta[field] = old["metadata"][field]
        for field in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not meta.get(field):
                meta.pop(field, None)
        if resource.status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        return new

    def _settled(self, resource: ResourceType, item: Object) -> Object:
        """Stores the object, or removes it where its deletion waited for nothing else."""
        meta = item["metadata"]
        leaving = meta.get("deletionTimestamp") and not meta.get("finalizers")
        if leaving and not meta.get("deletionGracePeriodSeconds") and resource.kind != "Namespace":
            return self.store.remove(resource, item)
        return self.store.write(resource, item)

    def delete(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        policy: str | None = None,
        grace_s: int | None = None,
        preconditions: Object | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Begins the deletion of an object and finishes it where nothing holds it."""
        with self.store.lock:
            item = copy.deepcopy(self.get(resource, namespace, name))
            meta = item["metadata"]
            for field, value in (preconditions or {}).items():
                if value and meta.get(field) != value:
                    raise errors.conflict(resource.qualified, name)
            if dry_run:
                return item
            self._propagate(resource, item, policy)
            grace_s = self._grace(resource, item, grace_s)
            if not meta.get("deletionTimestamp") or grace_s < meta["deletionGracePeriodSeconds"]:
                meta["deletionTimestamp"] = timestamp(self.store.now() + grace_s)
                meta["deletionGracePeriodSeconds"] = grace_s
                if "generation" in meta:
                    meta["generation"] += 1
            if resource.kind == "Namespace":
                item["status"] = {**item.get("status", {}), "phase": "Terminating"}
            if item == self.store.read(resource, namespace, name):
                return item
            return self._settled(resource, item)

    def _propagate(self, resource: ResourceType, item: Object, policy: str | None) -> None:
        if policy is None:
            # The deprecated default of batch/v1 is kept by real servers.
            policy = "Orphan" if resource.kind == "Job" else "Background"
        if policy == "Orphan":
            self._orphan(item)
        meta = item["metadata"]
        if policy == "Foreground" and FOREGROUND not in meta.get("finalizers", ()):
            meta["finalizers"] = [*(meta.get("finalizers") or []), FOREGROUND]

    def _grace(self, resource: ResourceType, item: Object, grace_s: int | None) -> int:
        if resource.kind != "Pod":
            return 0
        if not item["spec"].get("nodeName") or item["status"].get("phase") in _FINISHED:
            return 0
        default_s = item["spec"].get("terminationGracePeriodSeconds", 30)
        return max(int(default_s if grace_s is None else grace_s), 0)

    def dependents(self, uid: str) -> list[tuple[ResourceType, Object]]:
        """Objects that name the owner."""
        return [
            (resource, item)
            for resource, item in self.store.everything()
            if any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences", ()))
        ]

    def _orphan(self, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        for resource, item in self.dependents(uid):
            meta = item["metadata"]

            def disown(dependent: Object) -> Object:
                owners = dependent["metadata"].get("ownerReferences") or []
                dependent["metadata"]["ownerReferences"] = [o for o in owners if o["uid"] != uid]
                return dependent

            self.update(resource, meta.get("namespace", ""), meta["name"], disown)

    def remove_namespace(self, name: str) -> None:
        """Removes an emptied namespace."""
        with self.store.lock:
            resource = BY_KIND["Namespace"]
            self.store.remove(resource, copy.deepcopy(self.get(resource, "", name)))
