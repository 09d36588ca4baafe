"""The adapters of the embedded default or of a cluster, as the settings say."""

from pathlib import Path

from resources.compute.contract import Compute
from resources.compute.local import LocalCompute
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.run_workers import RunProcesses, RunWorkers
from resources.services.local import LocalRuntime, Runtime
from resources.settings import Settings
from resources.storage.object_store import ObjectStore


class NeedsABucket(Exception):
    """Work on a cluster meets its driver in a bucket, and the settings name none."""


def object_store(settings: Settings) -> ObjectStore:
    """The object store of the settings."""
    return ObjectStore(settings.object_root, settings.state.absolute() / "cache")


def request_logs(settings: Settings) -> Path:
    """Folder of the request logs on this machine."""
    return settings.state.absolute() / "requests"


def compute(settings: Settings, cluster: ClusterSettings) -> Compute:
    """Where engines run."""
    work = settings.state.absolute() / "work"
    if not cluster.is_used:
        return LocalCompute(work, settings.warm_socket, settings.ray_address)
    from resources.compute.rayjob.adapter import KubeRay
    from resources.kubernetes_api.client import Cluster

    _require_a_bucket(settings)
    return KubeRay(work, settings.object_root, Cluster(cluster))


def runtime(settings: Settings, cluster: ClusterSettings, *, is_brief: bool = False) -> Runtime:
    """Where services run; a brief one, for gateways, gives up at once where the cluster does not
    answer, and changes nothing that runs."""
    if not cluster.is_used:
        return LocalRuntime(settings.state.absolute() / "services", request_logs(settings))
    from resources.kubernetes_api.client import Cluster
    from resources.services.cluster.adapter import ClusterRuntime

    _require_a_bucket(settings)
    objects = Cluster(cluster).brief() if is_brief else Cluster(cluster)
    return ClusterRuntime(
        objects, object_store(settings), request_logs(settings), leaves_stops=is_brief
    )


def run_workers(cluster: ClusterSettings) -> RunWorkers:
    """What executes dagster_runs."""
    if not cluster.is_used:
        return RunProcesses()
    from resources.kubernetes_api.client import Cluster
    from resources.orchestration.run_pods import RunPods

    return RunPods(Cluster(cluster))


def _require_a_bucket(settings: Settings) -> None:
    if "://" not in settings.object_root:
        raise NeedsABucket(
            f"ORRERY_CLUSTER_NAMESPACE names a cluster, and ORRERY_OBJECTS is the folder "
            f"{settings.object_root}; expected s3://bucket/prefix, which pods can reach"
        )
