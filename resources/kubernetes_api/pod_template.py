"""What every pod of the platform has in common: no rights, no root, no writable image."""

from collections.abc import Mapping, Sequence
from typing import Any

from resources.kubernetes_api.settings import ClusterSettings

STATE = "/var/lib/orrery"
USER = 10001
GPU = "nvidia.com/gpu"
AUTHORITIES = "/etc/orrery/ca"
"""Folder of `ca.crt`, the authorities that a private database or bucket is known by."""
AUTHORITIES_VOLUME = {"name": "ca", "configMap": {"name": "orrery-ca", "optional": True}}
AUTHORITIES_MOUNT = {"name": "ca", "mountPath": AUTHORITIES, "readOnly": True}
LEAST_CPU_LIMIT = 1
SERVICE_LINKS = False
"""Whether pods get a variable for each Service of the namespace: one that is called `orrery` would
set `ORRERY_PORT=tcp://...`, which is a setting."""
SECURE_POD = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
SECURE_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def labels(component: str) -> dict[str, str]:
    """Labels by which objects of the platform are found."""
    return {"app.kubernetes.io/managed-by": "orrery", "app.kubernetes.io/component": component}


def resources_of(
    cluster: ClusterSettings,
    cpus: float,
    memory: str,
    gpus: int = 0,
    memory_limit: str | None = None,
) -> dict[str, Any]:
    """Requests and limits: memory and GPUs are bounded; idle processor time is free to use, but
    where the settings limit it to what is asked for, and to `LEAST_CPU_LIMIT` at least."""
    whole: dict[str, Any] = {GPU: gpus} if gpus else {}
    limits = {"memory": memory_limit or memory, **whole}
    if cluster.cpu_limits:
        limits["cpu"] = f"{max(cpus, LEAST_CPU_LIMIT):g}"
    return {"requests": {"cpu": f"{cpus:g}", "memory": memory, **whole}, "limits": limits}


def run_resources(cluster: ClusterSettings) -> dict[str, Any]:
    """Requests and limits of a run pod, which starts the work of others and waits for it."""
    limit = cluster.run_memory_limit
    return resources_of(cluster, cluster.run_cpus, cluster.run_memory, memory_limit=limit)


def env_vars(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """Environment variables as a container names them."""
    return [{"name": name, "value": value} for name, value in variables.items()]


def sources(cluster: ClusterSettings, secret: str) -> list[dict[str, Any]]:
    """Where the platform's own settings and secrets come from."""
    return [{"configMapRef": {"name": cluster.config_map}}, {"secretRef": {"name": secret}}]


def pod_spec(
    name: str,
    image: str,
    resources: Mapping[str, Any],
    cluster: ClusterSettings,
    *,
    command: Sequence[str] = (),
    env: Sequence[Mapping[str, Any]] = (),
    memory_folders: Sequence[str] = (),
    secret: str = "",
) -> dict[str, Any]:
    """A pod of one container, which may write to its state folder and to /tmp alone."""
    folders = {"state": STATE, "tmp": "/tmp"}  # noqa: S108
    in_memory = {f"memory-{i}": path for i, path in enumerate(memory_folders)}
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "env": list(env),
        "envFrom": sources(cluster, secret or cluster.secret),
        "resources": dict(resources),
        "securityContext": SECURE_CONTAINER,
        "volumeMounts": [
            *({"name": name, "mountPath": path} for name, path in (folders | in_memory).items()),
            AUTHORITIES_MOUNT,
        ],
    }
    if command:
        container["command"] = list(command)
    spec: dict[str, Any] = {
        # None of these pods talks to the API server.
        "automountServiceAccountToken": False,
        "enableServiceLinks": SERVICE_LINKS,
        "securityContext": SECURE_POD,
        "containers": [container],
        "volumes": [
            *({"name": volume, "emptyDir": {}} for volume in folders),
            *({"name": volume, "emptyDir": {"medium": "Memory"}} for volume in in_memory),
            AUTHORITIES_VOLUME,
        ],
    }
    if cluster.pull_secrets:
        spec["imagePullSecrets"] = cluster.pull_secrets
    return spec
