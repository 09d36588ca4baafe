"""What the contract tests share."""

import pytest

from tests.cluster.fixtures import cluster, cluster_images  # noqa: F401
from tests.cluster.kube import Kube


@pytest.fixture
def kube(cluster) -> Kube:  # noqa: F811
    """Clients of the official library for the cluster."""
    return Kube(cluster)
