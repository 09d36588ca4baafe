"""What Jobs, Deployments, and quotas do."""

import logging
import time

import pytest
from dagster_k8s.client import DagsterK8sError, DagsterKubernetesClient
from kubernetes.client import ApiException

from tests.cluster.kube import SLEEP, Kube, deployment, pod
from tests.waiting import until

NEVER_READY = {
    "readinessProbe": {"exec": {"command": ["python", "-c", "exit(1)"]}, "periodSeconds": 1}
}


def only_pod(kube: Kube, labels: str):
    """The one pod that runs under the labels."""
    result = until(lambda: [p for p in kube.pods(labels) if p.status.phase == "Running"])
    assert len(result) == 1
    return result[0]


def conditions(kube: Kube, name: str) -> dict[str, tuple[str, str]]:
    """Status and reason of a deployment's conditions."""
    result = kube.apps.read_namespaced_deployment_status(name, kube.namespace).status.conditions
    return {each.type: (each.status, each.reason) for each in result or ()}


def available(kube: Kube, name: str) -> int:
    status = kube.apps.read_namespaced_deployment_status(name, kube.namespace).status
    return status.available_replicas or 0


def test_a_job_runs_its_pod_to_the_end(kube: Kube):
    kube.create_job("j", "print('done')")
    until(lambda: kube.job_condition("j", "Complete"))
    status = kube.job("j").status
    assert (status.succeeded, status.active) == (1, None)
    assert status.start_time <= status.completion_time
    (ran,) = kube.pods("batch.kubernetes.io/job-name=j")
    assert ran.metadata.owner_references[0].name == "j"
    assert kube.log(ran.metadata.name) == "done\n"


def test_a_job_tries_again_until_its_limit(kube: Kube):
    kube.create_job("j", "raise SystemExit(1)", backoffLimit=1)
    failed = until(lambda: kube.job_condition("j", "Failed"))
    assert failed.reason == "BackoffLimitExceeded"
    assert kube.job("j").status.failed == 2
    assert len(kube.pods("job-name=j")) == 2


def test_a_job_past_its_deadline_fails(kube: Kube):
    kube.create_job("j", SLEEP, activeDeadlineSeconds=1)
    assert until(lambda: kube.job_condition("j", "Failed")).reason == "DeadlineExceeded"
    until(lambda: not kube.pods("job-name=j"))


def test_a_job_can_be_suspended_and_resumed(kube: Kube):
    kube.create_job("j", "pass", suspend=True)
    until(lambda: kube.job_condition("j", "Suspended"))
    assert not kube.pods("job-name=j")
    kube.batch.patch_namespaced_job("j", kube.namespace, {"spec": {"suspend": False}})
    until(lambda: kube.job_condition("j", "Complete"))


def test_suspending_a_running_job_deletes_its_pod_without_counting_it(kube: Kube):
    kube.create_job("j", SLEEP)
    only_pod(kube, "job-name=j")
    kube.batch.patch_namespaced_job("j", kube.namespace, {"spec": {"suspend": True}})
    until(lambda: not kube.pods("job-name=j"))
    assert kube.job("j").status.failed is None
    assert kube.job_condition("j", "Suspended")


def test_a_finished_job_goes_after_its_time_to_live(kube: Kube):
    kube.create_job("j", "pass")
    until(lambda: kube.job_condition("j", "Complete"))
    soon = {"spec": {"ttlSecondsAfterFinished": 1}}
    kube.batch.patch_namespaced_job("j", kube.namespace, soon)
    until(lambda: not kube.batch.list_namespaced_job(kube.namespace).items)
    until(lambda: not kube.pods("job-name=j"))


def test_a_pod_deleted_by_hand_is_replaced(kube: Kube):
    kube.create_job("j", SLEEP, backoffLimit=1)
    first = only_pod(kube, "job-name=j").metadata
    kube.core.delete_namespaced_pod(first.name, kube.namespace)
    until(lambda: first.uid not in [p.metadata.uid for p in kube.pods("job-name=j")])
    assert only_pod(kube, "job-name=j").metadata.uid != first.uid
    assert kube.job("j").status.failed == 1


def test_an_exit_code_can_end_a_job_at_once(kube: Kube):
    exits = {"operator": "In", "values": [42]}
    policy = {"rules": [{"action": "FailJob", "onExitCodes": exits}]}
    kube.create_job("j", "raise SystemExit(42)", backoffLimit=5, podFailurePolicy=policy)
    assert until(lambda: kube.job_condition("j", "Failed")).reason == "PodFailurePolicy"
    assert kube.job("j").status.failed == 1


def test_an_evicted_pod_is_replaced(kube: Kube):
    kube.cluster.require("faults")
    kube.create_job("j", SLEEP, backoffLimit=1)
    first = only_pod(kube, "job-name=j").metadata.name
    kube.cluster.kubelet.evict(first)
    until(lambda: len(kube.pods("job-name=j")) == 2)
    status = kube.pod(first).status
    assert (status.phase, status.reason) == ("Failed", "Evicted")
    until(lambda: kube.job("j").status.failed == 1)


def test_a_container_out_of_memory_says_so(kube: Kube):
    kube.cluster.require("faults")
    kube.create_pod("p", SLEEP)
    until(lambda: kube.phase("p") == "Running")
    kube.cluster.kubelet.oom_kill("p")
    until(lambda: kube.phase("p") == "Failed")
    ended = kube.container("p").state.terminated
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)


def test_a_quota_refuses_and_the_job_says_why(kube: Kube):
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
    kube.core.create_namespaced_resource_quota(kube.namespace, quota)
    used = kube.core.read_namespaced_resource_quota
    until(lambda: (used("q", kube.namespace).status.used or {}).get("pods") == "0")
    kube.create_pod("first", SLEEP)
    with pytest.raises(ApiException, match="exceeded quota: q") as caught:
        kube.create_pod("second", SLEEP)
    assert caught.value.status == 403
    kube.create_job("j", "pass")
    until(lambda: "FailedCreate" in kube.events("j"))
    kube.core.delete_namespaced_pod("first", kube.namespace)
    until(lambda: kube.job_condition("j", "Complete"))


def test_a_deployment_becomes_available(kube: Kube):
    kube.apps.create_namespaced_deployment(kube.namespace, deployment("web", SLEEP, replicas=2))
    until(lambda: available(kube, "web") == 2)
    result = kube.apps.read_namespaced_deployment("web", kube.namespace)
    assert result.status.observed_generation == result.metadata.generation
    assert result.status.updated_replicas == 2
    until(lambda: conditions(kube, "web")["Progressing"] == ("True", "NewReplicaSetAvailable"))
    assert conditions(kube, "web")["Available"] == ("True", "MinimumReplicasAvailable")


def test_a_new_template_replaces_the_pods(kube: Kube):
    kube.apps.create_namespaced_deployment(kube.namespace, deployment("web", SLEEP, replicas=1))
    until(lambda: available(kube, "web") == 1)
    first = kube.pods("app=web")[0].metadata.uid
    meta = {"metadata": {"annotations": {"version": "2"}}}
    change = {"spec": {"template": meta}}
    kube.apps.patch_namespaced_deployment("web", kube.namespace, change)
    until(lambda: first not in [p.metadata.uid for p in kube.pods("app=web")])
    assert available(kube, "web") == 1
    assert only_pod(kube, "app=web").metadata.annotations["version"] == "2"


def test_an_update_that_is_never_ready_leaves_the_old_pods_and_times_out(kube: Kube):
    body = deployment("web", SLEEP, replicas=1, progressDeadlineSeconds=2)
    kube.apps.create_namespaced_deployment(kube.namespace, body)
    until(lambda: available(kube, "web") == 1)
    sick = deployment("web", SLEEP, NEVER_READY, replicas=1, progressDeadlineSeconds=2)
    kube.apps.patch_namespaced_deployment("web", kube.namespace, sick)
    expected = ("False", "ProgressDeadlineExceeded")
    until(lambda: conditions(kube, "web")["Progressing"] == expected)
    assert available(kube, "web") == 1


def test_a_deployment_is_scaled(kube: Kube):
    kube.apps.create_namespaced_deployment(kube.namespace, deployment("web", SLEEP, replicas=0))
    scale = {"spec": {"replicas": 2}}
    kube.apps.patch_namespaced_deployment_scale("web", kube.namespace, scale)
    until(lambda: available(kube, "web") == 2)
    kube.apps.patch_namespaced_deployment_scale("web", kube.namespace, {"spec": {"replicas": 0}})
    until(lambda: not kube.pods("app=web"))
    result = kube.apps.read_namespaced_deployment_scale("web", kube.namespace)
    # Servers leave a 0 out.
    assert (result.spec.replicas or 0, result.status.selector) == (0, "app=web")


def test_a_deleted_deployment_takes_its_pods(kube: Kube):
    kube.apps.create_namespaced_deployment(kube.namespace, deployment("web", SLEEP))
    until(lambda: available(kube, "web") == 1)
    kube.apps.delete_namespaced_deployment("web", kube.namespace)
    until(lambda: not kube.pods("app=web"))


@pytest.fixture
def dagster(kube: Kube) -> DagsterKubernetesClient:
    """Dagster's own client over the test's cluster."""
    logger = logging.getLogger("dagster-k8s")
    return DagsterKubernetesClient(kube.batch, kube.core, logger, time.sleep, time.time)


def test_dagster_waits_for_a_job_and_reads_its_log(kube: Kube, dagster: DagsterKubernetesClient):
    kube.create_job("j", "print('done')")
    dagster.wait_for_job_success("j", kube.namespace, wait_time_between_attempts=0.05)
    (name,) = dagster.get_pod_names_in_job("j", kube.namespace)
    assert dagster.retrieve_pod_logs(name, kube.namespace) == "done\n"
    assert dagster.get_job_status("j", kube.namespace).succeeded == 1


def test_dagster_learns_of_a_failure(kube: Kube, dagster: DagsterKubernetesClient):
    kube.create_job("j", "raise SystemExit(1)")
    with pytest.raises(DagsterK8sError):
        dagster.wait_for_job_success("j", kube.namespace, wait_time_between_attempts=0.05)
    (name,) = dagster.get_pod_names_in_job("j", kube.namespace)
    assert "FailedCreate" not in dagster.get_job_debug_info("j", kube.namespace)
    assert name in dagster.get_pod_debug_info(name, kube.namespace)


def test_dagster_deletes_a_job_with_its_pods(kube: Kube, dagster: DagsterKubernetesClient):
    kube.create_job("j", SLEEP)
    only_pod(kube, "job-name=j")
    assert dagster.delete_job("j", kube.namespace)
    until(lambda: not kube.pods("job-name=j"))


def test_a_namespace_takes_everything_in_it(kube: Kube):
    doomed = f"{kube.namespace}-doomed"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": doomed}}
    kube.cluster.api.create(body)
    kube.core.create_namespaced_pod(doomed, pod("p", SLEEP))
    kube.core.delete_namespace(doomed)
    until(lambda: doomed not in [n.metadata.name for n in kube.core.list_namespace().items])
    assert not kube.core.list_namespaced_pod(doomed).items
