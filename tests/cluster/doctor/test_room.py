"""The doctor says whether runs leave room for their jobs, with the arithmetic."""

import pytest

from resources.kubernetes_api.pod_template import labels
from tests.cluster.doctor.examined import the, unwell
from tests.cluster.kube import SLEEP, pod
from tests.waiting import until

pytest_plugins = ("tests.cluster.doctor.examined",)

JOB = "1 CPU and 5 GiB"


def resize(cluster, cpus, memory):
    """Let one node have so much, and the others nothing."""
    first, *others = [node["metadata"]["name"] for node in cluster.api.list("Node")]
    for name in others:
        cluster.api.patch("Node", name, {"spec": {"unschedulable": True}})
    node = cluster.api.get("Node", first)
    amounts = {**node["status"]["allocatable"], "cpu": cpus, "memory": memory}
    cluster.api.patch_status("Node", first, {"allocatable": amounts})


def take(cluster, name, memory, **labelled):
    """A pod that runs and asks for so much."""
    resources = {"requests": {"memory": memory}}
    thing = pod(name, SLEEP, labels=labelled, resources=resources)
    cluster.api.create(thing, cluster.namespace)
    until(lambda: cluster.api.get("Pod", name)["status"].get("phase") == "Running")


def test_a_large_cluster_has_room_for_all_runs_and_a_job(whole):
    one = the("room")

    assert one.state == "ok"
    assert "64 runs at once ask for 3.2 CPU and 32 GiB" in one.message


def test_runs_that_leave_no_room_for_a_job_are_a_warning_with_the_bound(whole):
    resize(whole, "4", "15Gi")

    one = the("room")

    assert unwell() == {"room": "warning"}
    assert "the nodes have 4 CPU and 15 GiB for runs and jobs" in one.message
    assert f"leaves less than a job needs ({JOB})" in one.message
    # (15 - 5) GiB, by half a GiB each.
    assert "set ORRERY_RUNS_AT_ONCE to 20 or less" in one.todo


@pytest.mark.parametrize("where", ["variable", "ConfigMap"])
def test_with_the_bound_that_was_advised_all_is_well(whole, monkeypatch, where):
    resize(whole, "4", "15Gi")
    if where == "variable":
        monkeypatch.setenv("ORRERY_RUNS_AT_ONCE", "20")
    else:
        change = {"data": {"ORRERY_RUNS_AT_ONCE": "20"}}
        whole.api.patch("ConfigMap", "orrery-settings", change, whole.namespace)

    assert unwell() == {}


def test_what_others_run_counts_and_runs_and_jobs_do_not(whole):
    resize(whole, "4", "16Gi")
    take(whole, "other", "1Gi")
    take(whole, "a-run", "2Gi", **labels("run"))

    assert "the nodes have 4 CPU and 15 GiB for runs and jobs" in the("room").message


def test_a_cluster_without_room_for_one_job_is_told(whole):
    resize(whole, "4", "5Gi")

    one = the("room")

    assert unwell() == {"room": "missing"}
    assert f"none has room for the smallest job ({JOB}) beside its run" in one.message


@pytest.mark.parametrize("kind", ["nodes", "pods"])
def test_who_may_not_see_nodes_or_pods_is_told_how_to_look(whole, kind):
    whole.api.deny("list", kind)

    one = the("room")

    assert one.state == "skipped"
    assert one.commands == ("kubectl describe nodes",)
