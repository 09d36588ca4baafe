"""The Gateway of services: whether it is there and ready, and has its certificates."""

from collections.abc import Iterator
from typing import Any

from deploy.doctor.finding import Finding, fine, missing
from deploy.doctor.operators.conditions import by_condition, condition, reason
from deploy.doctor.refusal import refused
from resources.kubernetes_api.client import Cluster, ClusterRefused

TLS_KEYS = frozenset({"tls.crt", "tls.key"})
HOW = "docs/kubernetes.md, Secrets"


def check_gateway(cluster: Cluster) -> Iterator[Finding]:
    """Where the settings name a Gateway."""
    where = cluster.settings.gateway
    if not where:
        return
    namespace, _, name = where.partition("/")
    if not name:
        yield missing(
            "gateway",
            f"got ORRERY_CLUSTER_GATEWAY={where}, expected namespace/name",
            f"write {cluster.namespace}/{where}",
        )
        return
    gateway = cluster.within(namespace).get("Gateway", name)
    if gateway is None:
        yield missing(
            "gateway",
            f"there is no Gateway {name} in {namespace}; nobody reaches a service",
            "apply components/gateway-api, or name another with ORRERY_CLUSTER_GATEWAY",
        )
        return
    yield by_condition(
        gateway,
        "gateway",
        "Programmed",
        "see that its gatewayClassName is an installed implementation's",
        f"kubectl -n {namespace} describe gateway {name}",
        "kubectl get gatewayclasses",
    )
    yield from _check_certificates(cluster, namespace, gateway)


def _check_certificates(
    cluster: Cluster, namespace: str, gateway: dict[str, Any]
) -> Iterator[Finding]:
    """One finding of each Secret that a listener has its certificate from."""
    seen: set[tuple[str, str]] = set()
    for listener in gateway["spec"]["listeners"]:
        for reference in (listener.get("tls") or {}).get("certificateRefs") or ():
            place = (reference.get("namespace") or namespace, reference["name"])
            if reference.get("kind", "Secret") == "Secret" and place not in seen:
                seen.add(place)
                yield _certificate(cluster, gateway, listener["name"], *place)


def _certificate(
    cluster: Cluster, gateway: dict[str, Any], listener: str, namespace: str, name: str
) -> Finding:
    finding = f"certificate {name}"
    how = f"kubectl -n {namespace} create secret tls {name} --cert=tls.crt --key=tls.key"
    try:
        keys = cluster.within(namespace).keys("Secret", name)
    except ClusterRefused as error:
        return _said_by_listener(gateway, listener, finding, namespace, name, error)
    if keys is None:
        return missing(
            finding,
            f"there is no Secret {name} in {namespace}; the listener {listener} serves no TLS",
            f"make it from a certificate and its key ({HOW})",
            how,
        )
    if lacks := sorted(TLS_KEYS - keys):
        return missing(
            finding,
            f"the Secret {name} in {namespace} lacks {', '.join(lacks)}; the listener {listener} "
            "serves no TLS",
            f"make it anew, of the type kubernetes.io/tls ({HOW})",
            f"kubectl -n {namespace} delete secret {name}",
            how,
        )
    return fine(finding, f"the listener {listener} has it")


def _said_by_listener(
    gateway: dict[str, Any],
    listener: str,
    finding: str,
    namespace: str,
    name: str,
    error: ClusterRefused,
) -> Finding:
    """What the Gateway's controller says of it, which reads Secrets itself."""
    listeners = (gateway.get("status") or {}).get("listeners") or ()
    said = {each["name"]: condition(each, "ResolvedRefs") for each in listeners}.get(listener, {})
    if said.get("status") == "True":
        return fine(finding, f"the listener {listener} has it, says the Gateway's controller")
    if said.get("status") == "False":
        return missing(
            finding,
            f"the listener {listener} cannot use it: {reason(said)}",
            f"make the Secret {name} from a certificate and its key ({HOW})",
            f"kubectl -n {namespace} create secret tls {name} --cert=tls.crt --key=tls.key",
        )
    return refused(finding, "get secrets", error, f"kubectl -n {namespace} get secret {name}")
