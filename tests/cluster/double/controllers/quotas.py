"""ResourceQuota: admission of pods and the usage its status shows."""

from collections.abc import Iterable
from decimal import Decimal

from tests.cluster.double.api import errors
from tests.cluster.double.api.client import Client
from tests.cluster.double.api.quantities import plain, pod_resources, quantity
from tests.cluster.double.api.resource_types import BY_KIND, Object, ResourceType
from tests.cluster.double.api.store import Change
from tests.cluster.double.controllers.controller import Controller, Key, key_of

_REQUIRED = {f"{part}{name}" for part in ("", "requests.", "limits.") for name in ("cpu", "memory")}


def _usage(pod: Object) -> dict[str, Decimal]:
    used = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for part in ("requests", "limits"):
        for name, amount in pod_resources(pod["spec"], part).items():
            used[f"{part}.{name}"] = amount
            if part == "requests":
                used[name] = amount
    return used


def _used(client: Client, namespace: str) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for pod in client.store.items(BY_KIND["Pod"], namespace):
        if pod["status"].get("phase") not in ("Succeeded", "Failed"):
            for name, amount in _usage(pod).items():
                total[name] = total.get(name, Decimal(0)) + amount
    return total


class QuotaController(Controller):
    """Refuses pods beyond a namespace's quota, and keeps the status of quotas."""

    def __init__(self, api: Client):
        super().__init__(api)
        api.registry.admissions.append(self._admit)

    def _admit(
        self, operation: str, resource: ResourceType, item: Object, old: Object | None
    ) -> None:
        if operation != "CREATE" or resource.kind != "Pod":
            return
        namespace, name = key_of(item)
        for quota in self.api.store.items(BY_KIND["ResourceQuota"], namespace):
            hard = quota["spec"].get("hard") or {}
            body, used = _usage(item), _used(self.api, namespace)
            title = quota["metadata"]["name"]
            if missing := [key for key in hard if key in _REQUIRED and key not in body]:
                why = f"failed quota: {title}: must specify {','.join(sorted(missing))}"
                raise errors.forbidden("pods", name, why)
            over = [
                key
                for key, limit in hard.items()
                if key in body and used.get(key, Decimal(0)) + body[key] > quantity(limit)
            ]
            if over:
                wanted = ",".join(f"{key}={plain(body[key])}" for key in over)
                taken = ",".join(f"{key}={plain(used.get(key, Decimal(0)))}" for key in over)
                limits = ",".join(f"{key}={hard[key]}" for key in over)
                why = f"exceeded quota: {title}, requested: {wanted}, used: {taken}"
                raise errors.forbidden("pods", name, f"{why}, limited: {limits}")

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.kind == "ResourceQuota" and change.kind != "DELETED":
            yield key_of(change.item)
        elif change.resource.kind == "Pod":
            namespace = change.item["metadata"]["namespace"]
            for quota in self.api.store.items(BY_KIND["ResourceQuota"], namespace):
                yield key_of(quota)

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        with self.api.store.lock:
            hard = self.api.get("ResourceQuota", name, namespace)["spec"].get("hard") or {}
            used = _used(self.api, namespace)
            shown = {each: plain(used.get(each, Decimal(0))) for each in hard}
            status = {"hard": hard, "used": shown}
            self.api.set_status("ResourceQuota", name, status, namespace)
