"""What the overlays ask of a cluster, as the documentation says."""

import re
from decimal import Decimal

import pytest

from projects.loading import load_project
from projects.schema import Service
from resources.compute.rayjob.manifest import ray_job
from resources.compute.requirements import Requirements
from resources.kubernetes_api.pod_template import run_resources
from resources.kubernetes_api.settings import RUNS_OF_A_CLUSTER, ClusterSettings
from resources.services.cluster.manifests import objects_of
from resources.settings import CHECKOUT
from tests.cluster.double.api.quantities import pod_resources, quantity
from tests.cluster.test_service_objects import version
from tests.deploy import manifests
from tests.deploy.manifests import OVERLAYS, of_kind, overlay

CLUSTER = ClusterSettings(namespace="orrery")
REPLICA_MIB = 100
"""Of a small model in ONNX Runtime."""
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| (\d+): ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
GIB = 2**30

Size = tuple[Decimal, Decimal]
"""CPUs and GiB."""


def size_of(pod: dict) -> Size:
    asked = pod_resources(pod)
    return asked["cpu"], asked["memory"] / GIB


def times(size: Size, count: int) -> Size:
    return size[0] * count, size[1] * count


def plus(*sizes: Size) -> Size:
    return sum((s[0] for s in sizes), Decimal(0)), sum((s[1] for s in sizes), Decimal(0))


def always(name: str) -> Size:
    things = overlay(name)
    fewest = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]["minReplicas"]
        for scaler in of_kind(things, "HorizontalPodAutoscaler")
    }
    return plus(
        *(
            times(size_of(t["spec"]["template"]["spec"]), fewest.get(t["metadata"]["name"], 1))
            for t in things
            if t["kind"] in ("Deployment", "StatefulSet")
        )
    )


def runs(name: str) -> tuple[int, Size]:
    settings = manifests.the(overlay(name), "ConfigMap", "orrery-settings")["data"]
    count = int(settings.get("ORRERY_RUNS_AT_ONCE", RUNS_OF_A_CLUSTER))
    requests = run_resources(CLUSTER)["requests"]
    return count, times((quantity(requests["cpu"]), quantity(requests["memory"]) / GIB), count)


def largest_job() -> Size:
    """Of one worker, of the shipped projects: the head."""
    sizes = []
    for file in sorted((CHECKOUT / "projects").glob("*.yaml")):
        for model in load_project(file).declaration.models.values():
            if model.resources.workers == 1:
                made = ray_job("j", "m", "s3://b", "r", Requirements.of(model), CLUSTER)
                head = made["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
                sizes.append(size_of(head))
    return max(size[0] for size in sizes), max(size[1] for size in sizes)


def small_service() -> Size:
    needs = Requirements.of_service(Service(model="m"), REPLICA_MIB)
    deployment = objects_of(version(requirements=needs), CLUSTER)[0]
    return size_of(deployment["spec"]["template"]["spec"])


def documented() -> dict[str, tuple[Size, int, Size, Size]]:
    text = (CHECKOUT / "docs" / "kubernetes.md").read_text()
    return {
        name: (read(first), int(count), read(second), read(third))
        for name, first, count, second, third in ROW.findall(text)
    }


def read(text: str) -> Size:
    cpus, gib = re.fullmatch(r"([\d.]+) CPU, ([\d.]+) GiB\s*", text).groups()
    return Decimal(cpus), Decimal(gib)


def require_near(said: Size, computed: Size) -> None:
    """What is said is what is asked for, rounded up by a little."""
    for amount, asked in zip(said, computed, strict=True):
        assert asked <= amount <= asked + Decimal("0.2"), f"said {said}, computed {computed}"


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_documented_size_of_a_cluster_is_what_the_overlay_asks_for(name):
    first, count, second, whole = documented()[name]

    require_near(first, always(name))
    at_once, asked = runs(name)
    assert count == at_once
    require_near(second, asked)
    require_near(whole, plus(always(name), asked, largest_job(), small_service()))
