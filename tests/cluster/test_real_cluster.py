"""Tests of the cluster reach one by KUBECONFIG alone, and leave nothing behind there.

The double stands in the place of a real cluster, in a process of its own.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.settings import CHECKOUT
from tests import buckets
from tests.cluster.fixtures import ImagePlan, TestCluster
from tests.cluster.kube import SLEEP, deployment
from tests.cluster.real_cluster import NAME_LABEL, only_double
from tests.waiting import until

pytestmark = only_double("is about the double in the place of a real cluster")

CONTRACT = "tests/cluster/contract"
COMPUTE = "tests/cluster/test_compute.py"
OPERATORS = ("kuberay-operator", "kueue")
MADE = ("POST", 201)
WIDE = ("ClusterQueue", "ResourceFlavor", "WorkloadPriorityClass", "PriorityClass", "Namespace")


@pytest.fixture
def double() -> Iterator[TestCluster]:
    with TestCluster({"^orrery-": ImagePlan(cwd=str(CHECKOUT))}) as created:
        yield created


@pytest.fixture
def operated(double) -> TestCluster:
    """The double with the Deployments that tell of operators."""
    for name in OPERATORS:
        body = deployment(name, SLEEP, replicas=1)
        double.api.create({**body, "metadata": {"name": name, "labels": {NAME_LABEL: name}}})
    for name in OPERATORS:
        until(lambda name=name: double.api.get("Deployment", name)["status"].get("readyReplicas"))
    return double


def wide(cluster: TestCluster) -> set[tuple[str, str]]:
    """Everything of the whole cluster."""
    return {(kind, each["metadata"]["name"]) for kind in WIDE for each in cluster.api.list(kind)}


def said_of(cluster: TestCluster, folder: Path, *tests: str, **variables: str) -> str:
    """What pytest says of the tests on that cluster."""
    environment = {
        **os.environ,
        "ORRERY_TEST_CLUSTER": "1",
        "KUBECONFIG": str(cluster.kubeconfig),
        **variables,
    }
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-rs"]
    ended = subprocess.run(
        [*command, f"--basetemp={folder / 'tests'}", *tests],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
    return ended.stdout


def counted(said: str, outcome: str) -> int:
    """How many tests ended so."""
    found = re.search(rf"(\d+) {outcome}", said)
    return int(found[1]) if found else 0


def test_tests_run_in_namespaces_of_their_own_and_leave_nothing(operated, tmp_path, monkeypatch):
    bucket = buckets.make_bucket(monkeypatch)
    before = wide(operated)

    said = said_of(
        operated,
        tmp_path,
        f"{CONTRACT}/test_workloads.py::test_a_deployment_is_scaled",
        f"{CONTRACT}/test_workloads.py::test_a_namespace_takes_everything_in_it",
        f"{CONTRACT}/test_operators.py::test_a_queued_job_is_admitted_and_finishes",
        f"{CONTRACT}/test_pods.py::test_log_lines_have_times_and_can_be_cut_by_them",
        f"{COMPUTE}::test_a_job_ends_with_its_result_and_its_files",
        f"{COMPUTE}::test_a_queued_job_that_is_cancelled_leaves_no_ray_job",
        ORRERY_TEST_BUCKET=bucket,
        ORRERY_TEST_IMAGE_TRAINING="orrery-training",
    )

    assert (counted(said, "passed"), counted(said, "skipped")) == (6, 0), said
    assert wide(operated) == before
    made = [path for method, path, code in operated.api.requests if (method, code) == MADE]
    created = [path for path in made if "/namespaces/" in path]
    namespaces = [path.split("/namespaces/")[1].split("/")[0] for path in created]
    assert all(name.startswith("test-") for name in namespaces)
    assert len([path for path in created if path.endswith("/rayjobs")]) == 2
    assert buckets.written() != []
    assert buckets.listed() == []


def test_a_test_of_a_fault_or_without_its_operator_is_skipped_and_says_so(
    double, tmp_path, monkeypatch
):
    said = said_of(
        double,
        tmp_path,
        f"{CONTRACT}/test_workloads.py::test_a_container_out_of_memory_says_so",
        f"{CONTRACT}/test_operators.py::test_a_queued_job_is_admitted_and_finishes",
        f"{CONTRACT}/test_kuberay.py",
        f"{COMPUTE}::test_a_lost_node_costs_one_attempt",
        f"{COMPUTE}::test_a_job_ends_with_its_result_and_its_files",
    )

    assert counted(said, "passed") == 0
    assert said.count("needs a fault that only the double makes") == 2
    assert "kueue does not run: no Deployment" in said
    assert "kuberay does not run: no Deployment" in said
    assert "ORRERY_TEST_BUCKET is not set" in said


def test_an_api_that_fails_a_test_on_a_real_cluster_is_noticed(operated, tmp_path):
    operated.api.fail(403, times=1_000_000, method="POST", path="/pods")

    with pytest.raises(AssertionError, match="1 failed"):
        said_of(operated, tmp_path, f"{CONTRACT}/test_pods.py::test_a_log_is_followed_to_its_end")
