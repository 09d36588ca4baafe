"""Engine jobs run on a cluster to their end, whatever happens to their pods, queue and driver."""

import json
import threading
import time

import pytest

from engine.bucket import Bucket
from projects.log_rule import LogRule
from resources.compute.contract import ATTEMPTS, Driver, JobLost, JobRefused
from resources.compute.rayjob.adapter import KubeRay
from resources.compute.rayjob.manifest import RAY_WORKER_MIB, name_of
from resources.compute.requirements import Requirements
from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.pod_template import GPU
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import CHECKOUT
from tests.cluster.counting import CountingResult, CountingSpec
from tests.cluster.fixtures import ImagePlan
from tests.cluster.real_cluster import (
    STUCK_S,
    Emptied,
    image,
    needs_faults,
    variables_of_the_bucket,
)
from tests.waiting import until

MODULE = "tests.cluster.counting"
JOB = "0123456789abcdef0123"
NAME = name_of(JOB)


class Cancelled(BaseException):
    """As Dagster interrupts a step."""


@pytest.fixture
def cluster_images():
    """The training image, as this checkout and this environment."""
    return {"orrery-training": ImagePlan(cwd=str(CHECKOUT))}


@pytest.fixture
def bucket(monkeypatch):
    with Emptied(monkeypatch) as created:
        yield created


@pytest.fixture
def settings(cluster, bucket):
    cluster.require("kuberay")
    environment = variables_of_the_bucket()
    for kind, name in (("ConfigMap", "orrery-settings"), ("Secret", "orrery-engines")):
        data = {"data" if kind == "ConfigMap" else "stringData": environment}
        metadata = {"name": name, "namespace": cluster.namespace}
        cluster.api.create({"apiVersion": "v1", "kind": kind, "metadata": metadata, **data})
    return ClusterSettings(
        namespace=cluster.namespace,
        kubeconfig=cluster.kubeconfig,
        training_image=image("training"),
        poll_s=0.25,
        stuck_s=STUCK_S,
    )


@pytest.fixture
def queue(cluster, settings):
    """Settings whose jobs go through a Kueue queue."""
    make_queue(cluster, pods=100)
    return settings.model_copy(update={"queue": "training"})


@pytest.fixture
def full_queue(cluster, settings):
    """Settings whose jobs go through a Kueue queue that has no room."""
    make_queue(cluster, pods=0)
    return settings.model_copy(update={"queue": "training"})


QUOTAS = {"cpu": 64, "memory": "256Gi", GPU: 64}


def make_queue(cluster, pods):
    cluster.require("kueue")
    name = queue_name(cluster)
    for kind, spec in (
        ("ResourceFlavor", {}),
        ("ClusterQueue", {"namespaceSelector": {}, "resourceGroups": [quotas(name, pods)]}),
    ):
        cluster.api.create({**of_kueue(kind, name), "spec": spec})
    local = of_kueue("LocalQueue", "training")
    local["metadata"]["namespace"] = cluster.namespace
    cluster.api.create({**local, "spec": {"clusterQueue": name}})


def queue_name(cluster):
    """Name of what belongs to the whole cluster, which tests share."""
    return f"training-{cluster.namespace}"


def of_kueue(kind, name):
    return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": {"name": name}}


def quotas(flavor, pods):
    """What a queue has for all its jobs."""
    amounts = {**QUOTAS, "pods": pods}
    resources = [{"name": name, "nominalQuota": amount} for name, amount in amounts.items()]
    flavors = [{"name": flavor, "resources": resources}]
    return {"coveredResources": [*amounts], "flavors": flavors}


def make_room(cluster):
    """The queue has room for every job from now on."""
    name = queue_name(cluster)
    change = {"spec": {"resourceGroups": [quotas(name, 100)]}}
    cluster.api.patch("ClusterQueue", name, change)


def set_active(cluster, active):
    """Let Kueue take the job's place from it, or give it one again."""
    (workload,) = cluster.api.list("Workload", cluster.namespace)
    name = workload["metadata"]["name"]
    cluster.api.patch("Workload", name, {"spec": {"active": active}}, cluster.namespace)


@pytest.fixture
def compute(tmp_path, bucket, settings):
    return adapter(tmp_path, bucket, settings)


def adapter(tmp_path, bucket, settings):
    return KubeRay(tmp_path / "work", bucket, Cluster(settings))


def spec(compute, **fields):
    return CountingSpec(
        **{"job": JOB, "workdir": compute.workdir(JOB), "timeout_s": 300, "steps": 3, **fields}
    )


class Run:
    """A job whose driver is a thread; `interrupt` is thrown at it by its own next progress."""

    def __init__(self, compute, spec, interrupt=None, **how) -> None:
        self.said: list[str] = []
        self.states: list[tuple[str, str]] = []
        self._result: CountingResult | None = None
        self.error: BaseException | None = None
        self._interrupt: type[BaseException] | None = interrupt
        self._thread = threading.Thread(target=self._go, args=(compute, spec, how), daemon=True)
        self._thread.start()

    def _go(self, compute, spec, how) -> None:
        try:
            self._result = compute.run(MODULE, spec, CountingResult, self._hear, **how)
        except BaseException as error:
            self.error = error

    def _hear(self, line) -> None:
        self.said.append(str(line))
        self.states.append((line.state, line.reason))
        if self._interrupt:
            raise self._interrupt

    @property
    def result(self) -> CountingResult:
        """What the job made. Raises what its driver raised."""
        if self.error is not None:
            raise self.error
        assert self._result is not None
        return self._result

    def interrupt(self) -> None:
        self._interrupt = Cancelled
        self.end()

    def heard(self, text) -> bool:
        return any(text in line for line in self.said)

    def steps(self) -> int:
        """Steps that were told of."""
        return sum(line.startswith("step ") for line in self.said)

    def goes_on(self) -> None:
        """Wait for a step that was not told of before."""
        reached = self.steps()
        until(lambda: self.steps() > reached)

    def tells(self, text) -> None:
        until(lambda: self.heard(text))

    def end(self):
        self._thread.join(240)
        assert not self._thread.is_alive(), self.said
        return self


def pods(cluster):
    return cluster.api.list("Pod", cluster.namespace)


def head(cluster):
    return until(lambda: [p for p in pods(cluster) if p["status"].get("phase") == "Running"])[0]


def ray_job(cluster):
    return cluster.api.find("RayJob", NAME, cluster.namespace)


def test_a_job_ends_with_its_result_and_its_files(compute, cluster):
    result = compute.run(MODULE, spec(compute), CountingResult, lambda line: None)

    assert result.counted == 3
    assert json.loads((result.folder / "numbers.json").read_bytes()) == [0, 1, 2]
    assert result.folder.is_relative_to(compute.workdir(JOB))


def test_progress_is_told_as_it_is_made(compute):
    run = Run(compute, spec(compute, steps=3, step_s=0.5)).end()

    assert [line for line in run.said if line.startswith("step 3/3")]


def test_a_folder_that_the_spec_names_is_there_for_the_engine(compute, tmp_path):
    artefact = tmp_path / "artefact"
    artefact.mkdir()
    (artefact / "model.onnx").write_bytes(b"onnx")

    result = compute.run(MODULE, spec(compute, artefact=artefact), CountingResult, lambda line: 0)

    assert result.read == ["model.onnx"]


def test_nothing_is_left_on_the_cluster_after_the_end(compute, cluster):
    compute.run(MODULE, spec(compute), CountingResult, lambda line: None)

    until(lambda: ray_job(cluster) is None and pods(cluster) == [])


def test_a_forgotten_job_leaves_nothing_in_the_bucket(compute, bucket):
    compute.run(MODULE, spec(compute), CountingResult, lambda line: None)

    compute.forget(JOB)

    assert list(Bucket(f"{bucket}/jobs/{JOB}").walk()) == []


def test_a_kind_of_gpu_places_the_workers_at_its_nodes(cluster, full_queue, tmp_path, bucket):
    kinds = full_queue.model_copy(update={"gpu_kinds": "A100=NVIDIA-A100-SXM4-80GB, T4"})
    compute = adapter(tmp_path, bucket, kinds)
    Run(
        compute,
        spec(compute),
        requirements=Requirements(workers=2, gpus_per_worker=1, gpu_kind="A100"),
    )

    result = until(lambda: ray_job(cluster))

    group = result["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    selected = group["template"]["spec"]["nodeSelector"]
    assert selected == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert compute.lack_of(Requirements(workers=2, gpus_per_worker=1, gpu_kind="T4")) == ""
    lack = compute.lack_of(Requirements(workers=2, gpus_per_worker=1, gpu_kind="A10"))
    assert "of kind A10; this cluster has A100, T4" in lack and "did you mean 'A100'" in lack


def policies(cluster):
    return cluster.api.list("NetworkPolicy", cluster.namespace)


def test_pods_of_a_job_with_several_are_reached_by_each_other_alone(
    cluster, full_queue, tmp_path, bucket
):
    compute = adapter(tmp_path, bucket, full_queue)
    # Its one line is that it waits: nothing else would interrupt it.
    several, lost = Requirements(workers=2), Driver("run", lambda: False)
    Run(compute, spec(compute), Cancelled, requirements=several, driver=lost).end()
    (policy,) = policies(cluster)

    pods = {"matchLabels": {"orrery/job": JOB}}
    assert policy["spec"]["podSelector"] == pods
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": pods}]}]

    cluster.api.delete("NetworkPolicy", policy["metadata"]["name"], cluster.namespace)
    Run(compute, spec(compute), requirements=several)
    # A driver that adopts the job makes up for what the one before did not get to.
    until(lambda: policies(cluster))
    compute.forget(JOB)
    until(lambda: policies(cluster) == [])


def test_a_job_of_one_pod_is_reached_by_no_pod(cluster, full_queue, tmp_path, bucket):
    compute = adapter(tmp_path, bucket, full_queue)
    run = Run(compute, spec(compute))
    until(lambda: run.heard("waits in queue"))
    assert policies(cluster) == []


def test_a_job_is_not_compared_with_the_machine_that_takes_it(queue, tmp_path, bucket):
    assert (
        adapter(tmp_path, bucket, queue).lack_of(
            Requirements(workers=64, gpus_per_worker=8, memory="2Ti")
        )
        == ""
    )


def test_the_ray_job_has_what_was_declared(compute, cluster, full_queue, tmp_path, bucket):
    requirements = Requirements(
        workers=3,
        min_workers=2,
        cpus_per_worker=4,
        gpus_per_worker=1,
        memory="8Gi",
        env_vars={"NCCL_DEBUG": "INFO"},
        node_selector={"gpu": "h100"},
        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}],
        priority="high",
    )
    Run(adapter(tmp_path, bucket, full_queue), spec(compute), requirements=requirements)

    result = until(lambda: ray_job(cluster))

    group = result["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    worker = group["template"]["spec"]
    assert (group["minReplicas"], group["replicas"]) == (2, 3)
    limits = worker["containers"][0]["resources"]["limits"]
    assert limits == {"memory": f"{8 * 1024 + RAY_WORKER_MIB}Mi", "nvidia.com/gpu": 1}
    assert {"name": "NCCL_DEBUG", "value": "INFO"} in worker["containers"][0]["env"]
    assert worker["nodeSelector"] == {"gpu": "h100"}
    assert worker["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert result["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "training"
    assert result["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "high"


def test_a_queued_job_waits_longer_than_it_may_run_and_says_why(
    compute, cluster, full_queue, tmp_path, bucket
):
    run = Run(adapter(tmp_path, bucket, full_queue), spec(compute, timeout_s=12.0), stall_s=12.0)
    until(lambda: run.heard("waits in queue training: couldn't assign flavors to pod set"))
    state, reason = run.states[-1]
    assert (state, "waits in queue training" in reason) == ("waiting", True)
    time.sleep(12.5)

    make_room(cluster)

    assert run.end().result.counted == 3
    assert run.states[-1] == ("running", "")


def test_a_job_whose_place_is_taken_goes_on_from_its_checkpoint(
    compute, cluster, queue, tmp_path, bucket
):
    run = Run(adapter(tmp_path, bucket, queue), spec(compute, steps=60, step_s=0.1))
    until(lambda: run.heard("step 10/60"))

    set_active(cluster, active=False)
    until(lambda: run.heard("waits in queue"))
    set_active(cluster, active=True)

    result = run.end().result
    assert (result.counted, result.first >= 10) == (60, True)
    assert not run.heard("was lost")


@needs_faults
def test_a_pre_empted_job_is_told_and_saves_what_it_reached(
    compute, cluster, queue, tmp_path, bucket
):
    run = Run(adapter(tmp_path, bucket, queue), spec(compute, steps=60, step_s=0.1))
    until(lambda: run.heard("step 10/60"))

    copied = run.steps()
    cluster.kueue.preempt(NAME)
    until(lambda: run.heard("waits in queue"))
    cluster.kueue.release()

    # Copies are made every two seconds; the last one was made because the engine was told.
    assert run.end().result.first > copied


@needs_faults
def test_a_head_that_is_killed_for_its_memory_costs_one_attempt_and_says_so(compute, cluster):
    run = Run(compute, spec(compute, steps=60, step_s=0.1))
    until(lambda: run.heard("step 10/60"))

    cluster.kubelet.oom_kill(head(cluster)["metadata"]["name"])

    result = run.end().result
    assert (result.counted, result.first > 0) == (60, True)
    assert run.heard("attempt 1/3 was lost") and run.heard("(OOMKilled)")
    assert not run.heard("attempt 2/3")


@needs_faults
def test_a_job_whose_heads_die_again_and_again_is_given_up(compute, cluster):
    run = Run(compute, spec(compute, steps=600, step_s=0.1))
    for attempt in range(1, ATTEMPTS + 1):
        run.goes_on()
        cluster.kubelet.oom_kill(head(cluster)["metadata"]["name"])
        run.tells(f"attempt {attempt}/{ATTEMPTS} was lost")

    assert isinstance(run.end().error, JobLost)


@needs_faults
def test_an_evicted_job_goes_on_from_its_checkpoint(compute, cluster):
    run = Run(compute, spec(compute, steps=60, step_s=0.1))
    until(lambda: run.heard("step 10/60"))

    cluster.kubelet.evict(head(cluster)["metadata"]["name"])

    result = run.end().result
    assert (result.counted, result.first > 0) == (60, True)
    assert run.heard("was lost")


def test_a_pod_deleted_by_hand_costs_one_attempt(compute, cluster):
    run = Run(compute, spec(compute, steps=60, step_s=0.1))
    until(lambda: run.heard("step 5/60"))

    cluster.api.delete("Pod", head(cluster)["metadata"]["name"], cluster.namespace)

    assert run.end().result.counted == 60


@needs_faults
def test_a_lost_node_costs_one_attempt(compute, cluster):
    run = Run(compute, spec(compute, steps=60, step_s=0.1))
    until(lambda: run.heard("step 5/60"))

    cluster.kubelet.lose_node(head(cluster)["spec"]["nodeName"])

    assert run.end().result.counted == 60


def test_a_ray_job_deleted_by_hand_is_asked_for_again(compute, cluster):
    run = Run(compute, spec(compute, steps=60, step_s=0.1))
    until(lambda: run.heard("step 5/60"))

    cluster.api.delete("RayJob", NAME, cluster.namespace)

    assert run.end().result.counted == 60


def test_a_cancelled_job_leaves_no_ray_job_and_its_checkpoint(compute, cluster):
    run = Run(compute, spec(compute, steps=600, step_s=0.1))
    until(lambda: run.heard("step 8/600"))

    run.interrupt()

    assert isinstance(run.error, Cancelled)
    until(lambda: ray_job(cluster) is None and pods(cluster) == [])
    assert list((compute.workdir(JOB) / "checkpoints").glob("[0-9]*/count"))


def test_a_queued_job_that_is_cancelled_leaves_no_ray_job(
    compute, cluster, full_queue, tmp_path, bucket
):
    compute = adapter(tmp_path, bucket, full_queue)
    body = spec(compute)

    def interrupt(line):
        raise Cancelled

    with pytest.raises(Cancelled):
        compute.run(MODULE, body, CountingResult, interrupt)

    until(lambda: ray_job(cluster) is None)


def test_the_retry_of_a_lost_driver_adopts_the_job_that_runs(compute, cluster, tmp_path, bucket):
    lost = Run(compute, spec(compute, steps=150, step_s=0.1), driver=Driver("run", lambda: False))
    until(lambda: lost.heard("step 5/150"))
    lost.interrupt()
    uid = ray_job(cluster)["metadata"]["uid"]

    again = Run(compute, spec(compute, steps=150, step_s=0.1))
    until(lambda: again.said)

    assert ray_job(cluster)["metadata"]["uid"] == uid
    assert again.end().result.first == 0


def test_a_job_whose_driver_never_comes_back_ends_itself(
    compute, cluster, settings, tmp_path, bucket
):
    settings = settings.model_copy(update={"lease_s": 3.0})
    compute = adapter(tmp_path, bucket, settings)
    body = spec(compute, steps=10_000, step_s=0.1, lease_s=2.0)
    lost = Run(compute, body, driver=Driver("run", lambda: False))
    until(lambda: lost.heard("step 2/"))

    lost.interrupt()

    until(lambda: ray_job(cluster)["status"].get("jobDeploymentStatus") == "Failed", 60)


def test_ray_jobs_that_nobody_waits_for_are_swept(compute, cluster, full_queue, tmp_path, bucket):
    compute = adapter(tmp_path, bucket, full_queue)
    lost = Run(compute, spec(compute), driver=Driver("the-run", lambda: False))
    until(lambda: ray_job(cluster))
    until(lambda: lost.heard("waits in queue"))

    swept = compute.end_abandoned(lambda run: run != "the-run")

    assert swept == [NAME]
    until(lambda: ray_job(cluster) is None)


def test_an_image_that_cannot_be_pulled_is_told_and_refused(compute, cluster):
    run = Run(compute, spec(compute), requirements=Requirements(image="nowhere:1")).end()

    assert isinstance(run.error, JobRefused)
    assert "ImagePull" in str(run.error)
    until(lambda: ray_job(cluster) is None)


def test_a_quota_that_is_used_up_is_told_and_waited_for(compute, cluster):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": cluster.namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    cluster.api.create(quota)
    run = Run(compute, spec(compute))
    until(lambda: run.heard("FailedToCreateHeadPod") and run.heard("exceeded quota"))

    cluster.api.delete("ResourceQuota", "small", cluster.namespace)

    assert run.end().result.counted == 3


def test_a_job_that_can_never_work_is_refused_with_its_own_words(compute, cluster):
    with pytest.raises(JobRefused, match="it can never count"):
        compute.run(
            MODULE, spec(compute, fails="refused", fails_at=1), CountingResult, lambda line: None
        )

    until(lambda: ray_job(cluster) is None)


@needs_faults
def test_a_rule_of_the_log_takes_a_failed_job_to_another_node(compute, cluster):
    rules = (LogRule(pattern="can never count", then="other_node"),)
    failing = spec(compute, steps=40, step_s=0.2, fails="refused", fails_at=10)
    run = Run(compute, failing, requirements=Requirements(log_rules=rules))
    first = head(cluster)["spec"]["nodeName"]

    until(lambda: run.heard("attempt 1 of 3 was lost") or run.heard("was lost"))

    second = until(lambda: next((p for p in pods(cluster) if _is_elsewhere(p, first)), None))
    (avoided,) = _avoided(second)
    assert avoided == first
    assert run.end().result.first == 10


def _is_elsewhere(pod, node):
    return _avoided(pod) and pod["spec"].get("nodeName") not in (None, node)


def _avoided(pod):
    affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    (term,) = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get(
        "nodeSelectorTerms", [{}]
    )
    return [field["values"][0] for field in term.get("matchFields", ())]


def test_a_rule_of_the_log_ends_a_job_that_would_be_tried_again(compute, cluster):
    rules = (LogRule(pattern="numbers are away", then="stop"),)
    failing = spec(compute, fails="try_again", fails_at=2)
    run = Run(compute, failing, requirements=Requirements(log_rules=rules)).end()

    assert isinstance(run.error, JobRefused)
    assert run.error.cause == "outage"
    until(lambda: ray_job(cluster) is None)


def test_a_job_that_asks_for_it_is_tried_again(compute):
    run = Run(compute, spec(compute, fails="try_again", fails_at=2)).end()

    assert run.result.counted == 3
    assert run.heard("the numbers are away")


def test_a_job_that_is_always_lost_is_given_up_with_its_reason(compute):
    with pytest.raises(JobLost, match="after 3 attempts"):
        compute.run(
            MODULE, spec(compute, fails="dies", fails_at=0), CountingResult, lambda line: None
        )


def test_a_job_that_runs_too_long_is_stopped(compute, cluster):
    with pytest.raises(JobRefused, match="longer than 1 s"):
        compute.run(
            MODULE,
            spec(compute, steps=1000, step_s=0.1, timeout_s=1.0),
            CountingResult,
            lambda line: None,
        )

    until(lambda: ray_job(cluster) is None)


def test_a_silent_job_is_stopped_as_hung(compute):
    with pytest.raises(JobRefused, match="reported nothing for 1 s"):
        compute.run(
            MODULE, spec(compute, steps=2, step_s=30), CountingResult, lambda line: None, stall_s=1
        )


@needs_faults
@pytest.mark.parametrize("status", [429, 500, 503])
def test_errors_of_the_api_server_that_pass_are_waited_out(status, compute, cluster):
    cluster.api.fail(status, times=3, path="rayjobs")

    assert compute.run(MODULE, spec(compute), CountingResult, lambda line: None).counted == 3


@pytest.fixture
def impatient(monkeypatch):
    """Calls of the API that wait for seconds only, and outages that are told at once."""
    monkeypatch.setattr("resources.kubernetes_api.client.CALL_S", 1)
    monkeypatch.setattr("resources.kubernetes_api.client.ATTEMPTS", 2)
    monkeypatch.setattr("resources.compute.rayjob.watcher.AWAY_TOLD_S", 0.5)


AWAY = {
    "answers with errors": lambda api: api.fail(503, times=1_000_000),
    "cuts connections": lambda api: api.leave(hanging=False),
    "hangs": lambda api: api.leave(hanging=True),
}


@needs_faults
@pytest.mark.parametrize("leave", AWAY.values(), ids=AWAY)
def test_a_job_ends_well_while_the_api_server_is_away(leave, compute, cluster, impatient):
    run = Run(compute, spec(compute, steps=30, step_s=0.1))
    until(lambda: run.heard("step 2/30"))

    leave(cluster.api)

    run.tells("the Kubernetes API does not answer; the job goes on")
    state, reason = run.states[-1]
    assert (state, "does not answer; the job goes on" in reason) == ("running", True)
    assert run.end().result.counted == 30
    assert run.steps() == 30
    cluster.api.heal()
    # What could not be deleted is left to the sweep; a server that hung may do it late.
    assert compute.end_abandoned(lambda run: False) in ([], [NAME])
    until(lambda: ray_job(cluster) is None)


@needs_faults
def test_the_lease_is_renewed_while_the_api_server_is_away(
    tmp_path, bucket, settings, cluster, impatient
):
    # The engine would end long before the outage does.
    short = settings.model_copy(update={"lease_s": 4})
    run = Run(
        adapter(tmp_path, bucket, short),
        spec(adapter(tmp_path, bucket, short), steps=20, step_s=0.5),
    )
    until(lambda: run.heard("step 1/20"))

    cluster.api.leave(hanging=True)

    assert run.end().result.counted == 20


@needs_faults
@pytest.mark.parametrize("leave", AWAY.values(), ids=AWAY)
def test_a_job_begins_once_the_api_server_is_back(leave, compute, cluster, impatient):
    leave(cluster.api)

    run = Run(compute, spec(compute))
    run.tells("waits for the Kubernetes API, which does not answer")
    assert run.states[-1][0] == "waiting"
    cluster.api.heal()

    assert run.end().result.counted == 3


@needs_faults
def test_a_job_is_cancelled_while_the_api_server_is_away(compute, cluster, impatient):
    run = Run(compute, spec(compute, steps=300, step_s=0.1), driver=Driver(run="the-run"))
    until(lambda: run.heard("step 2/300"))
    cluster.api.leave(hanging=False)

    run.interrupt()

    assert isinstance(run.error, Cancelled)
    cluster.api.heal()
    assert compute.end_abandoned(lambda run: run != "the-run") == [NAME]


@needs_faults
def test_a_create_that_was_answered_by_an_error_is_not_made_twice(compute, cluster):
    cluster.api.fail(500, times=1, method="POST", path="rayjobs")

    compute.run(MODULE, spec(compute), CountingResult, lambda line: None)

    created = [r for r in cluster.api.requests if r[0] == "POST" and r[2] == 201]
    assert len([r for r in created if r[1].endswith("/rayjobs")]) == 1


@needs_faults
def test_a_clock_that_is_wrong_does_no_harm(compute, cluster):
    cluster.api.skew(-7_200)

    assert compute.run(MODULE, spec(compute), CountingResult, lambda line: None).counted == 3


@needs_faults
def test_two_drivers_of_one_job_share_one_ray_job(compute, cluster):
    runs = [Run(compute, spec(compute, steps=10, step_s=0.1)) for _ in range(2)]

    results = [run.end().result for run in runs]

    created = [r for r in cluster.api.requests if r[0] == "POST" and r[1].endswith("/rayjobs")]
    assert [r[2] for r in created].count(201) == 1
    assert {result.pid for result in results if result} == {results[0].pid}
