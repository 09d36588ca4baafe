"""Where the doctor looks from: a pod of the cluster, or a machine outside it."""

import os
import socket

from deploy.doctor.finding import Finding, skipped

SERVICE_HOST = "KUBERNETES_SERVICE_HOST"
"""A variable that every pod has."""
HERE = ("localhost", "")


def is_within() -> bool:
    """Whether this process runs in a pod."""
    return bool(os.environ.get(SERVICE_HOST))


def from_within(namespace: str) -> str:
    """The command that looks from the gateway's pod."""
    return f"kubectl -n {namespace} exec deploy/gateway -- orrery doctor"


def is_out_of_reach(host: str | None) -> bool:
    """Whether the host has a name of the cluster's own DNS, and this machine does not know it.

    One that is forwarded to this machine under its name is within reach."""
    if is_within() or host is None or not _is_of_a_cluster(host):
        return False
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return True
    return False


def out_of_reach(name: str, host: str | None, namespace: str) -> Finding:
    """Not looked at, because only pods reach it."""
    return skipped(
        name,
        f"{host} has an address inside the cluster alone; this machine is outside",
        "look from within",
        from_within(namespace),
    )


def not_set(name: str, what: str, namespace: str) -> Finding:
    """Not looked at, because pods have it from a Secret that this machine does not have."""
    return skipped(
        name,
        f"{what} here; pods take it from the namespace {namespace}, and this machine is outside",
        "look from within",
        from_within(namespace),
    )


def _is_of_a_cluster(host: str) -> bool:
    """Whether the name is that of a Service: `NAME`, `NAME.NAMESPACE.svc` and longer."""
    # Neither this machine, nor an address of IPv6, nor the folder of a socket.
    if host in HERE or ":" in host or "/" in host:
        return False
    parts = host.rstrip(".").split(".")
    return len(parts) == 1 or "svc" in parts[1:]
