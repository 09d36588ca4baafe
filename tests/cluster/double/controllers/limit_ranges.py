"""LimitRange: what admission gives to pods that do not name it, and which pods it refuses."""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from tests.cluster.double.api import errors
from tests.cluster.double.api.client import Client
from tests.cluster.double.api.quantities import plain, pod_resources, quantity
from tests.cluster.double.api.resource_types import BY_KIND, Object, ResourceType
from tests.cluster.double.api.store import Change
from tests.cluster.double.controllers.controller import Controller, Key, key_of


class LimitRanger(Controller):
    """Completes LimitRanges and the containers of pods, and refuses pods beyond a range."""

    def __init__(self, api: Client):
        super().__init__(api)
        api.registry.admissions.append(self._admit)

    def keys(self, change: Change) -> Iterable[Key]:
        return ()

    def reconcile(self, key: Key) -> None:
        return

    def _admit(
        self, operation: str, resource: ResourceType, item: Object, old: Object | None
    ) -> None:
        if resource.kind == "LimitRange":
            for each in item["spec"]["limits"]:
                _complete(each)
        if operation != "CREATE" or resource.kind != "Pod":
            return
        namespace, name = key_of(item)
        ranges = self.api.store.items(BY_KIND["LimitRange"], namespace)
        items = [each for found in ranges for each in found["spec"]["limits"]]
        for container in item["spec"]["containers"]:
            _fill(container, [each for each in items if each["type"] == "Container"])
        refusals = [said for each in items for said in _refusals(item["spec"], each)]
        if refusals:
            raise errors.forbidden("pods", name, ", ".join(refusals))


def _complete(item: Object) -> None:
    """As the API server completes the item of a container's limits."""
    if item["type"] != "Container":
        return
    default = {**item.get("max", {}), **item.get("default", {})}
    requests = {**item.get("min", {}), **default, **item.get("defaultRequest", {})}
    item.update({"default": default} if default else {})
    item.update({"defaultRequest": requests} if requests else {})


def _fill(container: Object, items: list[Object]) -> None:
    resources = container.setdefault("resources", {})
    limits, requests = dict(resources.get("limits", {})), dict(resources.get("requests", {}))
    requests = {**limits, **requests}
    for each in items:
        limits = {**each.get("default", {}), **limits}
        requests = {**each.get("defaultRequest", {}), **requests}
    resources.update(limits=limits, requests=requests)


def _refusals(spec: Object, item: Object) -> Iterator[str]:
    kind = item["type"]
    sizes = (
        [spec]
        if kind == "Pod"
        else [{"containers": [each]} for each in spec["containers"]]
        if kind == "Container"
        else []
    )
    for each in sizes:
        requests, limits = pod_resources(each), pod_resources(each, "limits")
        yield from _beyond(kind, item, requests, limits)


def _beyond(
    kind: str, item: Object, requests: dict[str, Decimal], limits: dict[str, Decimal]
) -> Iterator[str]:
    for name, least in item.get("min", {}).items():
        if name not in requests:
            yield f"minimum {name} usage per {kind} is {least}.  No request is specified"
        elif requests[name] < quantity(least):
            asked = plain(requests[name])
            yield f"minimum {name} usage per {kind} is {least}, but request is {asked}"
    for name, most in item.get("max", {}).items():
        if name not in limits:
            yield f"maximum {name} usage per {kind} is {most}.  No limit is specified"
        elif max(limits[name], requests.get(name, Decimal(0))) > quantity(most):
            asked = plain(limits[name])
            yield f"maximum {name} usage per {kind} is {most}, but limit is {asked}"
    for name, most in item.get("maxLimitRequestRatio", {}).items():
        if name not in limits or name not in requests:
            yield f"{name} max limit to request ratio per {kind} is {most}, but no limit or request"
        elif limits[name] / requests[name] > quantity(most):
            yield f"{name} max limit to request ratio per {kind} is {most}, but it is greater"
