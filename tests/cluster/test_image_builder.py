"""Images of services are built in a namespace of their own, and what it refuses is told at once."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.image_builder import ImageBuilder
from resources.services.local import DeploymentFailed
from tests.cluster.fixtures import ImagePlan, TestCluster
from tests.waiting import until

BUILDS = "builds"
STORE = "https://store.example"
BENTO = ("shop.reader", "v1", "s3://bucket/bento.tar", "0" * 64, "orrery-serving")
AT_ONCE_S = 15


class Workshop:
    """A cluster with a namespace for builds, and programs in the place of its images."""

    def __init__(self, cluster: TestCluster, folder: Path) -> None:
        self.cluster, self._bin = cluster, folder / "bin"
        self.seen, self.go = folder / "seen", folder / "go"
        self._bin.mkdir()
        self._write("python", f"env >> {self.seen}")
        self._write("buildctl-daemonless.sh", "true")
        secret = {"metadata": {"name": "orrery-bucket", "namespace": BUILDS}}
        cluster.api.create({"apiVersion": "v1", "kind": "Secret", **secret})
        settings = ClusterSettings(
            namespace=cluster.namespace,
            kubeconfig=cluster.kubeconfig,
            registry="registry.test/models",
            build_namespace=BUILDS,
            builder_image="builder:1",
            poll_s=0.05,
        )
        self.builder = ImageBuilder(Cluster(settings))

    @property
    def python(self) -> str:
        return str(self._bin / "python")

    def build(self) -> str:
        return self.builder.build(*BENTO)

    def hold(self) -> None:
        """Builds wait until `go` is there."""
        self._write("buildctl-daemonless.sh", f"until test -e {self.go}; do sleep 0.05; done")

    def refuse(self, name: str = "none") -> None:
        """Let the namespace admit no pod, as it does where BuildKit is not what it admits."""
        quota = {"metadata": {"name": name, "namespace": BUILDS}, "spec": {"hard": {"pods": "0"}}}
        self.cluster.api.create({"apiVersion": "v1", "kind": "ResourceQuota", **quota})

    def admit(self, name: str = "none") -> None:
        """Take that back."""
        self.cluster.api.delete("ResourceQuota", name, BUILDS)

    def jobs(self, namespace: str = BUILDS) -> list[dict[str, Any]]:
        return self.cluster.api.list("Job", namespace)

    def _write(self, name: str, script: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)


@pytest.fixture
def workshop(cluster, tmp_path) -> Iterator[Workshop]:
    if not hasattr(cluster, "api"):
        pytest.skip("what a cluster admits is only set on the one that is made here")
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BUILDS}})
    settings = {"metadata": {"name": "orrery-settings"}, "data": {"AWS_ENDPOINT_URL": STORE}}
    cluster.api.create({"apiVersion": "v1", "kind": "ConfigMap", **settings})
    created = Workshop(cluster, tmp_path)
    for image in ("^builder:1$", "^orrery-serving$"):
        cluster.kubelet.images[image] = ImagePlan(python=created.python)
    yield created
    created.go.touch()


def test_builds_are_in_their_namespace_alone(workshop):
    workshop.build()

    (job,) = workshop.jobs()
    assert job["status"]["succeeded"] == 1
    assert workshop.jobs(workshop.cluster.namespace) == []


def test_the_bucket_is_reached_by_the_settings_of_the_platform(workshop):
    workshop.build()

    assert f"AWS_ENDPOINT_URL={STORE}\n" in workshop.seen.read_text()


def test_without_the_settings_nothing_is_built(workshop):
    workshop.cluster.api.delete("ConfigMap", "orrery-settings")

    with pytest.raises(DeploymentFailed, match="no ConfigMap orrery-settings in test"):
        workshop.build()


def test_a_pod_that_is_refused_is_told_at_once_in_the_words_of_the_cluster(workshop):
    workshop.refuse()
    begun = time.monotonic()

    with pytest.raises(DeploymentFailed, match=r"Error creating: .* is forbidden: exceeded quota"):
        workshop.build()

    assert time.monotonic() - begun < AT_ONCE_S
    assert workshop.jobs() == []


def test_once_pods_are_admitted_the_next_attempt_builds(workshop):
    workshop.refuse()
    with pytest.raises(DeploymentFailed):
        workshop.build()
    workshop.admit()

    assert workshop.build().startswith("registry.test/models/shop.reader:v1-")


def test_the_refusal_of_an_earlier_attempt_is_not_taken_for_that_of_this_one(workshop):
    workshop.refuse("first")
    with pytest.raises(DeploymentFailed, match="exceeded quota: first"):
        workshop.build()
    workshop.refuse("second")
    workshop.admit("first")

    with pytest.raises(DeploymentFailed, match="exceeded quota: second"):
        workshop.build()


def test_a_refusal_that_has_passed_is_no_failure(workshop):
    workshop.hold()
    images: list[str] = []
    building = threading.Thread(target=lambda: images.append(workshop.build()), daemon=True)
    building.start()
    until(lambda: workshop.cluster.api.list("Pod", BUILDS))
    (job,) = workshop.jobs()
    looks = len(workshop.cluster.api.faults.requests)

    workshop.cluster.api.event(job, "FailedCreate", "Error creating: try again", True)
    until(lambda: len(workshop.cluster.api.faults.requests) > looks + 10, 20)
    workshop.go.touch()

    building.join(30)
    assert len(images) == 1
