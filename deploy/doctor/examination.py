"""All checks, as the settings need them."""

from collections.abc import Iterator

from deploy.doctor.cluster.cluster_checks import check_cluster
from deploy.doctor.finding import Finding
from deploy.doctor.host_checks import check_host
from deploy.doctor.store_checks import check_stores
from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import Settings


def examine(settings: Settings, cluster: ClusterSettings) -> Iterator[Finding]:
    """What is well and what is not, one by one: of the cluster that the settings name, or of this
    machine."""
    if cluster.is_used:
        yield from check_cluster(
            Cluster(cluster), settings.instance_secret_file, settings.runs_at_once
        )
    else:
        yield from check_host(settings)
    yield from check_stores(settings, cluster.namespace)
