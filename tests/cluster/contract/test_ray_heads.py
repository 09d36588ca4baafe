"""What becomes of a RayJob's entrypoint when its head, RayCluster, or RayJob goes."""

import threading
import time
from typing import Any

import psutil
import pytest

from tests.cluster.fixtures import TestCluster
from tests.cluster.kube import RAY_JOBS, SLEEP, Kube, ray_job
from tests.waiting import until

CLEANED = {"shutdownAfterJobFinishes": True, "ttlSecondsAfterFinished": 600}
ASKED = """
import os, signal, time
# One write each: two processes share the log.
def asked(*_):
    os.write(1, b"asked\\n")
    if MORTAL: raise SystemExit(143)
signal.signal(15, asked)
os.write(1, b"up\\n")
while True: time.sleep(0.05)
"""
MORTAL, DEAF = ASKED.replace("MORTAL", "True"), ASKED.replace("MORTAL", "False")
WITH_CHILD = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {MORTAL!r}], start_new_session=True)
{MORTAL}
"""


@pytest.fixture
def ray(kube: Kube) -> Kube:
    kube.cluster.require("faults")
    return kube


def create(ray: Kube, code: str, container: Any = None, pods: Any = None, **spec: Any) -> None:
    """A RayJob r with a head of this container and no workers."""
    body = ray_job("r", code, **CLEANED, **spec)
    cluster = body["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    main = {**head["containers"][0], **(container or {})}
    template = {"spec": {**head, "containers": [main], **(pods or {})}}
    body["spec"]["rayClusterSpec"] = {"headGroupSpec": {"rayStartParams": {}, "template": template}}
    ray.custom.create_namespaced_custom_object(namespace=ray.namespace, body=body, **RAY_JOBS)


def delete(ray: Kube) -> None:
    ray.custom.delete_namespaced_custom_object(namespace=ray.namespace, name="r", **RAY_JOBS)


def waiting(seconds: float) -> dict:
    """A hook that takes so long, and the grace that it needs."""
    command = ["python", "-c", f"import time; time.sleep({seconds})"]
    hook = {"lifecycle": {"preStop": {"exec": {"command": command}}}}
    return {"container": hook, "pods": {"terminationGracePeriodSeconds": 20}}


def submission(ray: Kube, said: str = "") -> Any:
    """The only submission, once its driver has said so."""

    def submission_of_job() -> Any:
        if not ray.ray_job("r").get("jobId"):
            return None
        submitted = ray.cluster.kuberay.submissions("r")
        return submitted[0] if submitted and said in submitted[0].log.read_text() else None

    return until(submission_of_job)


def again(ray: Kube, times: int = 2) -> list[Any]:
    """All submissions under the same id, once there are so many."""
    until(lambda: len(ray.cluster.kuberay.submissions("r")) == times)
    return ray.cluster.kuberay.submissions("r")


def only_head(ray: Kube) -> Any:
    (head,) = until(lambda: ray.pods("ray.io/node-type=head"))
    return head


def restarts(ray: Kube) -> int:
    container = ray.container(only_head(ray).metadata.name)
    return container.restart_count if container else 0


def test_the_entrypoint_is_a_process_of_its_own(ray: Kube):
    create(ray, "import os; print(os.getpid() == os.getsid(0) == os.getpgid(0)); " + SLEEP)
    driver = submission(ray, "True\n")
    (main,) = ray.cluster.kubelet.pids(only_head(ray).metadata.name)
    assert driver.pid != main


def test_the_entrypoint_has_the_variables_of_its_head_and_its_runtime(ray: Kube):
    code = "import os; print(os.environ['A'], os.environ['B'])"
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    create(ray, code, {"env": env}, runtimeEnvYAML="env_vars:\n  B: '3'\n")
    until(lambda: ray.ray_state("r") == "Complete")
    assert ray.cluster.kuberay.driver_log("r") == "1 3\n"


def test_the_entrypoint_is_told_its_submission_id(ray: Kube):
    create(
        ray,
        "import json, os; told = json.loads(os.environ['RAY_JOB_CONFIG_JSON_ENV_VAR'])\n"
        "print(told['metadata']['job_submission_id'])",
    )
    until(lambda: ray.ray_state("r") == "Complete")
    assert ray.cluster.kuberay.driver_log("r") == f"{ray.ray_job('r')['jobId']}\n"


def test_the_output_of_the_entrypoint_is_not_in_the_log_of_its_pod(ray: Kube):
    create(ray, "print('words')")
    until(lambda: ray.ray_state("r") == "Complete")
    assert ray.log(only_head(ray).metadata.name) == ""


def test_a_head_out_of_memory_is_restarted_and_the_job_submitted_again(ray: Kube):
    create(ray, SLEEP, backoffLimit=0)
    first = submission(ray)
    uid = only_head(ray).metadata.uid
    ray.cluster.kubelet.oom_kill(only_head(ray).metadata.name)
    _, second = again(ray)
    until(lambda: not psutil.pid_exists(first.pid), 10)
    assert psutil.pid_exists(second.pid)
    assert (only_head(ray).metadata.uid, restarts(ray)) == (uid, 1)
    assert "failed" not in ray.ray_job("r")


def test_a_deleted_head_is_replaced_and_the_job_submitted_again(ray: Kube):
    create(ray, SLEEP, backoffLimit=0)
    submission(ray)
    first = only_head(ray).metadata
    ray.core.delete_namespaced_pod(first.name, ray.namespace)
    again(ray)
    assert only_head(ray).metadata.uid != first.uid
    assert ray.ray_state("r") == "Running"


def test_an_evicted_head_is_replaced_and_the_job_submitted_again(ray: Kube):
    create(ray, SLEEP, backoffLimit=0)
    submission(ray)
    first = only_head(ray).metadata
    ray.cluster.kubelet.evict(first.name)
    again(ray)
    until(lambda: first.uid not in [pod.metadata.uid for pod in ray.pods("ray.io/cluster")])


def test_the_job_of_an_unseen_head_runs_on_beside_the_one_submitted_again(ray: Kube):
    create(ray, SLEEP)
    first = submission(ray)
    ray.cluster.kubelet.lose_node(only_head(ray).spec.node_name, kill=False)
    _, second = again(ray)
    assert psutil.pid_exists(first.pid)
    assert psutil.pid_exists(second.pid)


def test_a_job_can_have_another_id_each_time(ray: Kube):
    ray.cluster.kuberay.renews_ids = True
    create(ray, SLEEP)
    submission(ray)
    first = ray.ray_job("r")["jobId"]
    ray.cluster.kubelet.oom_kill(only_head(ray).metadata.name)
    until(lambda: ray.ray_job("r")["jobId"] != first)


def test_a_ray_job_can_fail_with_its_head(ray: Kube):
    ray.cluster.kuberay.resubmits = False
    create(ray, SLEEP)
    submission(ray)
    until(lambda: ray.ray_job("r")["jobStatus"] == "RUNNING")
    ray.cluster.kubelet.oom_kill(only_head(ray).metadata.name)
    until(lambda: ray.ray_state("r") == "Failed")
    assert ray.ray_job("r")["reason"] == "AppFailed"


def test_a_ray_job_whose_head_stays_away_fails(ray: Kube):
    ray.cluster.kuberay.unreachable_for_s = 1.0
    create(ray, SLEEP)
    submission(ray)
    ray.cluster.kubelet.pause()
    ray.core.delete_namespaced_pod(only_head(ray).metadata.name, ray.namespace)
    until(lambda: ray.ray_state("r") == "Failed")
    assert ray.ray_job("r")["reason"] == "JobStatusCheckTimeoutExceeded"


def test_a_suspended_job_ends_with_ray_and_unasked(ray: Kube):
    create(ray, MORTAL)
    driver = submission(ray, "up")
    ray.patch_ray_job("r", {"suspend": True})
    until(lambda: ray.ray_state("r") == "Suspended")
    until(lambda: not ray.pods("ray.io/cluster"))
    assert driver.log.read_text() == "up\n"
    until(lambda: not psutil.pid_exists(driver.pid), 10)


def test_a_hook_of_the_head_comes_before_the_end_of_a_suspended_job(ray: Kube):
    words = "import os, time; open('/work/' + os.environ['FILE'], 'w'); time.sleep(0.5)"
    container = {
        "lifecycle": {"preStop": {"exec": {"command": ["python", "-c", words]}}},
        "env": [{"name": "FILE", "value": "hooked"}],
        "volumeMounts": [{"name": "work", "mountPath": "/work"}],
    }
    pods = {"volumes": [{"name": "work", "emptyDir": {}}], "terminationGracePeriodSeconds": 20}
    code = """
import os, time
print("up", flush=True)
while not os.path.exists("/work/hooked"): time.sleep(0.01)
print("saved", flush=True)
time.sleep(600)
"""
    create(ray, code, container, pods)
    driver = submission(ray, "up")
    ray.patch_ray_job("r", {"suspend": True})
    until(lambda: not psutil.pid_exists(driver.pid))
    assert driver.log.read_text() == "up\nsaved\n"


def test_a_hook_is_cut_short_by_the_grace_of_its_pod(ray: Kube):
    slow = waiting(600)
    slow["pods"]["terminationGracePeriodSeconds"] = 1
    create(ray, SLEEP, **slow)
    driver = submission(ray)
    ray.patch_ray_job("r", {"suspend": True})
    until(lambda: not psutil.pid_exists(driver.pid), 10)


def test_a_ray_job_starts_anew_while_its_old_pods_still_end(ray: Kube):
    create(ray, SLEEP, **waiting(2))
    driver = submission(ray)
    old, id_ = only_head(ray).metadata.uid, ray.ray_job("r")["jobId"]
    ray.patch_ray_job("r", {"suspend": True})
    until(lambda: ray.ray_state("r") == "Suspended")
    ray.patch_ray_job("r", {"suspend": False})
    until(lambda: ray.ray_job("r").get("jobStatus") == "RUNNING")
    assert ray.ray_job("r")["jobId"] != id_
    assert psutil.pid_exists(driver.pid)
    assert old in [pod.metadata.uid for pod in ray.pods("ray.io/node-type=head")]


def test_a_deleted_ray_job_has_its_job_asked_to_stop(ray: Kube):
    create(ray, MORTAL, **waiting(2))
    driver = submission(ray, "up")
    delete(ray)
    until(lambda: driver.status == "STOPPED")
    assert driver.log.read_text() == "up\nasked\n"
    assert ray.pods("ray.io/cluster")


def test_everything_under_a_stopped_entrypoint_is_asked(ray: Kube):
    create(ray, WITH_CHILD, **waiting(2))
    driver = submission(ray, "up\nup")
    delete(ray)
    until(lambda: driver.log.read_text() == "up\nup\nasked\nasked\n")


def test_a_job_that_will_not_stop_is_killed_when_its_time_is_over(ray: Kube):
    slow = waiting(10)
    slow["container"]["env"] = [{"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": "1"}]
    create(ray, DEAF, **slow)
    driver = submission(ray, "up")
    begun = time.monotonic()
    delete(ray)
    until(lambda: driver.status == "STOPPED")
    assert 1 <= time.monotonic() - begun < 5
    assert driver.log.read_text() == "up\nasked\n"


def test_a_head_with_less_memory_than_ray_needs_never_runs_its_job(ray: Kube):
    create(ray, "pass", {"resources": {"limits": {"memory": "2Gi"}}})
    until(lambda: restarts(ray) >= 2)
    ended = ray.container(only_head(ray).metadata.name).last_state.terminated
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)
    assert ray.ray_state("r") == "Initializing"


def test_a_test_can_say_how_much_memory_ray_needs(ray: Kube):
    ray.cluster.kuberay.ray_needs = "1Gi"
    create(ray, "pass", {"resources": {"limits": {"memory": "2Gi"}}})
    until(lambda: ray.ray_state("r") == "Complete")
    assert restarts(ray) == 0


def test_no_driver_outlives_its_cluster():
    threads = set(threading.enumerate())
    with TestCluster() as cluster:
        cluster.api.create(ray_job("r", DEAF))
        until(lambda: (cluster.api.get("RayJob", "r").get("status") or {}).get("jobId"))
        (driver,) = until(lambda: cluster.kuberay.submissions("r"))
    until(lambda: not psutil.pid_exists(driver.pid), 10)
    assert set(threading.enumerate()) <= threads
