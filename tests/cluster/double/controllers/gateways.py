"""The statuses a Gateway API implementation writes, without any traffic."""

from collections.abc import Iterable

from tests.cluster.double.api.client import condition
from tests.cluster.double.api.resource_types import BY_KIND, Object
from tests.cluster.double.api.store import Change
from tests.cluster.double.controllers.controller import Controller, Key, key_of

CONTROLLER = "gateway.test/controller"

_KINDS = ("GatewayClass", "Gateway", "HTTPRoute")


class GatewayController(Controller):
    """Accepts gateways and routes, and tells which references lead nowhere."""

    def keys(self, change: Change) -> Iterable[Key]:
        kind, item = change.resource.kind, change.item
        if kind in _KINDS and change.kind != "DELETED":
            yield f"{kind}/{key_of(item)[0]}", key_of(item)[1]
        if kind == "Secret":
            for gateway in self.api.store.items(BY_KIND["Gateway"]):
                yield f"Gateway/{key_of(gateway)[0]}", key_of(gateway)[1]
        if kind in ("Service", "Gateway"):
            for route in self.api.store.items(BY_KIND["HTTPRoute"]):
                yield f"HTTPRoute/{key_of(route)[0]}", key_of(route)[1]

    def reconcile(self, key: Key) -> None:
        kind, _, namespace = key[0].partition("/")
        with self.api.store.lock:
            item = self.api.get(kind, key[1], namespace)
            if kind == "GatewayClass":
                if item["spec"]["controllerName"] != CONTROLLER:
                    return
                status = {"conditions": [self._condition(item, "Accepted", "Accepted")]}
            elif kind == "Gateway":
                status = self._gateway(item)
            else:
                parents = item["spec"].get("parentRefs") or ()
                status = {"parents": [self._parent(item, parent) for parent in parents]}
            if self._news(item.get("status"), status):
                self.api.set_status(kind, key[1], status, namespace)

    def _news(self, old: object, new: object) -> bool:
        """Whether two statuses differ in more than their times."""

        def timeless(value: object) -> object:
            if isinstance(value, dict):
                pairs = value.items()
                return {k: timeless(v) for k, v in pairs if k != "lastTransitionTime"}
            return [timeless(each) for each in value] if isinstance(value, list) else value

        return timeless(old) != timeless(new)

    def _condition(
        self, item: Object, kind: str, reason: str, holds: bool = True, message: str = ""
    ) -> Object:
        generation = item["metadata"]["generation"]
        return condition(kind, holds, reason, message, self.api.store.timestamp(), generation)

    def _gateway(self, item: Object) -> Object:
        listeners = [
            {
                "name": listener["name"],
                "attachedRoutes": 0,
                "supportedKinds": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}],
                "conditions": [
                    self._condition(item, "Accepted", "Accepted"),
                    *self._certified(item, listener),
                ],
            }
            for listener in item["spec"]["listeners"]
        ]
        return {
            "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
            "conditions": [
                self._condition(item, kind, kind) for kind in ("Accepted", "Programmed")
            ],
            "listeners": listeners,
        }

    def _certified(self, item: Object, listener: Object) -> list[Object]:
        """Whether the Secrets are there that the listener has its certificates from."""
        namespace = item["metadata"]["namespace"]
        absent = [
            reference["name"]
            for reference in (listener.get("tls") or {}).get("certificateRefs") or ()
            if not self.api.find("Secret", reference["name"], reference.get("namespace", namespace))
        ]
        if not absent:
            return [self._condition(item, kind, kind) for kind in ("Programmed", "ResolvedRefs")]
        message = f"Secret {namespace}/{absent[0]} does not exist."
        reason = "InvalidCertificateRef"
        return [
            self._condition(item, "Programmed", "Invalid", False),
            self._condition(item, "ResolvedRefs", reason, False, message),
        ]

    def _parent(self, item: Object, parent: Object) -> Object:
        namespace = item["metadata"]["namespace"]
        where = parent.get("namespace") or namespace
        result = self.api.find("Gateway", parent["name"], where) is not None
        accepted = self._condition(
            item, "Accepted", "Accepted" if result else "NoMatchingParent", result
        )
        missing = [
            backend["name"]
            for rule in item["spec"].get("rules") or ()
            for backend in rule.get("backendRefs") or ()
            if backend.get("kind", "Service") == "Service"
            and not self.api.find("Service", backend["name"], backend.get("namespace") or namespace)
        ]
        resolved = self._condition(item, "ResolvedRefs", "ResolvedRefs")
        if missing:
            message = f"backends not found: {', '.join(missing)}"
            resolved = self._condition(item, "ResolvedRefs", "BackendNotFound", False, message)
        return {
            "parentRef": parent,
            "controllerName": CONTROLLER,
            "conditions": [accepted, resolved],
        }
