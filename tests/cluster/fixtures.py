"""The cluster tests run against: a double in this process, or the one KUBECONFIG names."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import yaml

from tests.cluster.double.api.api_server import ApiServer
from tests.cluster.double.controllers.built_in import ControllerManager
from tests.cluster.double.controllers.kuberay import RayJobController
from tests.cluster.double.controllers.kueue import Kueue
from tests.cluster.double.controllers.ray_clusters import RayClusterController
from tests.cluster.double.nodes.images import DEFAULT_IMAGES, PYTHON_IMAGE, ImagePlan, Images
from tests.cluster.double.nodes.kubelet import Kubelet
from tests.cluster.real_cluster import IS_REAL, RealCluster

__all__ = [
    "PYTHON_IMAGE",
    "ImagePlan",
    "RealCluster",
    "TestCluster",
    "cluster",
    "cluster_images",
    "real_cluster",
]

_FIRST_NAMESPACES = ("default", "kube-system")


def _namespace(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def kubeconfig(url: str, namespace: str, token: str = "") -> str:
    """A kubeconfig for a server without TLS."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {"token": token} if token else {}}],
            "contexts": [
                {
                    "name": "test",
                    "context": {"cluster": "test", "user": "test", "namespace": namespace},
                }
            ],
        }
    )


class TestCluster:
    """API server, controllers, kubelet, KubeRay, and Kueue; nothing of them outlives `close`.

    `images` maps regular expressions to plans, beside the default ones, or is a function that
    decides alone.
    """

    __test__ = False

    def __init__(self, images: Images | None = None, namespace: str = "test", gpus: int = 0):
        self.namespace = namespace
        self._folder = tempfile.TemporaryDirectory(prefix="cluster-")
        self.kubeconfig = Path(self._folder.name, "kubeconfig")
        self.api = ApiServer(namespace)
        if not callable(images):
            images = {**DEFAULT_IMAGES, **(images or {})}
        self.kubelet = Kubelet(self.api, images, gpus)
        clusters = RayClusterController(self.api, self.kubelet)
        self.kuberay = RayJobController(self.api, self.kubelet, clusters)
        self.kueue = Kueue(self.api)
        more = (clusters, self.kuberay, self.kueue)
        self.controllers = ControllerManager(self.api, more)
        self.kubeconfig.write_text(kubeconfig(self.api.url, namespace))
        self.kubelet.kubeconfig = self.kubeconfig
        self.api.endpoints.log_source = self.kubelet.log
        self.controllers.start()
        for name in (*_FIRST_NAMESPACES, namespace):
            self.api.create(_namespace(name))
        self.kubelet.start()

    def require(self, capability: str) -> None:
        """The double has every capability."""

    def close(self) -> None:
        """Ends every process and thread, and removes every folder."""
        self.controllers.close()
        self.kubelet.close()
        self.kuberay.close_heads()
        self.api.close()
        self._folder.cleanup()
        failures = self.controllers.failures + self.kubelet.failures
        assert not failures, "\n".join(failures)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def real_cluster() -> RealCluster:
    """A namespace of the cluster that KUBECONFIG names."""
    return RealCluster(Path(os.environ["KUBECONFIG"].partition(os.pathsep)[0]))


@pytest.fixture
def cluster_images() -> Images | None:
    """Images a test's cluster knows beside the default ones; override it to add some."""
    return None


@pytest.fixture
def cluster(cluster_images: Images | None) -> Iterator[TestCluster | RealCluster]:
    """A cluster with a namespace of the test's own."""
    with real_cluster() if IS_REAL else TestCluster(cluster_images) as created:
        yield created
