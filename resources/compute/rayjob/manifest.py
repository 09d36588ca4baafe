"""The RayJob of one engine job, as KubeRay reads it."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from engine.attempt import PID_FILE, RAY_CLUSTER
from resources.compute.requirements import Requirements
from resources.kubernetes_api.pod_template import env_vars, labels, pod_spec, resources_of
from resources.kubernetes_api.settings import ClusterSettings

RAY_VERSION = "2.60.0"
KEPT_AFTER_END_S = 600
# More than STOP_S: Kubernetes counts the time of the hook, and then Ray has to end.
GRACE_S = 60
# More than the engine has to end (`STOP_WITHIN_S` of engine/remote.py), for it copies after that.
STOP_S = 45
PID = "/tmp/engine.pid"  # noqa: S108
RAY_HEAD_MIB = 3 * 1024
"""What Ray's own processes take of a head: 2,743 MiB of an idle one (ray-project/kuberay#4288)."""
RAY_WORKER_MIB = 1024
MIB_OF = {"Mi": 1, "Gi": 1 << 10, "Ti": 1 << 20}
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
JOB_LABEL = "orrery/job"
MODULE_LABEL = "orrery/engine"
RUN_LABEL = "orrery/run"


def name_of(job: str) -> str:
    """Name of the job's RayJob: the same for every attempt and every driver."""
    return f"orrery-{job}"


def ray_job(
    job: str, module: str, uri: str, run: str, requirements: Requirements, cluster: ClusterSettings
) -> dict[str, Any]:
    """The RayJob that runs the module on the job's folder in the bucket.

    One worker is the head itself: a job of one process needs no second pod. More workers are pods
    of a group; the head keeps them together, and exports and evaluates what they made. What is
    declared is the engine's; Ray's own processes get theirs besides.
    """
    queue = requirements.queue or cluster.queue
    queued = {QUEUE_LABEL: queue} if queue else {}
    priority = {PRIORITY_LABEL: requirements.priority} if queue and requirements.priority else {}
    spec: dict[str, Any] = {
        "entrypoint": f"python -m engine.remote {uri} {module} {cluster.lease_s:g}",
        "submissionMode": "HTTPMode",
        # KubeRay refuses to suspend a RayJob without it (ray-project/kuberay#3994).
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEPT_AFTER_END_S,
        # The driver counts the attempts.
        "backoffLimit": 0,
        "rayClusterSpec": _ray_cluster(job, requirements, cluster),
    }
    if queue:
        # Kueue takes it over from here.
        spec["suspend"] = True
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": name_of(job),
            "namespace": cluster.namespace,
            "labels": {
                **labels("job"),
                JOB_LABEL: job,
                MODULE_LABEL: module,
                RUN_LABEL: run,
                **queued,
                **priority,
            },
        },
        "spec": spec,
    }


def policy_of(ray_job: Mapping[str, Any]) -> dict[str, Any] | None:
    """The NetworkPolicy by which the pods of this RayJob alone reach each other; None where it has
    one pod. It goes when the RayJob goes.

    NetworkPolicies cannot say "pods of the same job", so each job needs its own.
    """
    if "workerGroupSpecs" not in ray_job["spec"]["rayClusterSpec"]:
        return None
    meta = ray_job["metadata"]
    pods = {"matchLabels": {JOB_LABEL: meta["labels"][JOB_LABEL]}}
    owner = {"apiVersion": ray_job["apiVersion"], "kind": "RayJob"}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            # That of a RayJob of this name that was deleted may still be there.
            "name": f"{meta['name']}-{meta['uid'][:8]}",
            "namespace": meta["namespace"],
            "labels": labels("job"),
            "ownerReferences": [owner | {"name": meta["name"], "uid": meta["uid"]}],
        },
        "spec": {
            "podSelector": pods,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": pods}]}],
        },
    }


def _ray_cluster(job: str, requirements: Requirements, cluster: ClusterSettings) -> dict[str, Any]:
    is_one = requirements.workers == 1
    # KubeRay submits the job to the dashboard from its own pod. Without CPUs the head of a group
    # gets no worker.
    head_params = {"dashboard-host": "0.0.0.0"} | ({} if is_one else {"num-cpus": "0"})  # noqa: S104
    memory = _more(requirements.memory, RAY_HEAD_MIB)
    size = (
        resources_of(cluster, requirements.cpus_per_worker, memory, requirements.gpus_per_worker)
        if is_one
        else resources_of(cluster, 1, memory)
    )
    head = _template("ray-head", job, size, requirements, cluster, is_placed=is_one)
    _let_it_stop(head["spec"]["containers"][0])
    cluster_spec: dict[str, Any] = {
        "rayVersion": RAY_VERSION,
        "headGroupSpec": {"rayStartParams": head_params, "template": head},
    }
    if not is_one:
        each = resources_of(
            cluster,
            requirements.cpus_per_worker,
            _more(requirements.memory, RAY_WORKER_MIB),
            requirements.gpus_per_worker,
        )
        cluster_spec["enableInTreeAutoscaling"] = False
        cluster_spec["workerGroupSpecs"] = [
            {
                "groupName": "workers",
                "replicas": requirements.workers,
                "minReplicas": requirements.min_workers,
                "maxReplicas": requirements.workers,
                "rayStartParams": {},
                "template": _template(
                    "ray-worker", job, each, requirements, cluster, is_placed=True
                ),
            }
        ]
    return cluster_spec


def _gpu_selector(requirements: Requirements, cluster: ClusterSettings) -> dict[str, str]:
    """The label of nodes that have GPUs of the kind; Kueue chooses its flavor by it."""
    if not requirements.gpus_per_worker or requirements.gpu_kind is None:
        return {}
    return {cluster.gpu_label: cluster.gpu_labels.get(requirements.gpu_kind, requirements.gpu_kind)}


def _more(memory: str, mib: int) -> str:
    """The declared memory, and so many MiB."""
    return f"{int(memory[:-2]) * MIB_OF[memory[-2:]] + mib}Mi"


def _let_it_stop(head: dict[str, Any]) -> None:
    """Send SIGTERM to the engine before Ray ends: Ray kills a job of a deleted pod at once."""
    stop = ["python", "-m", "engine.stopping", PID, str(STOP_S)]
    head["lifecycle"] = {"preStop": {"exec": {"command": stop}}}
    # The last is for a RayJob that is deleted: KubeRay has Ray stop the job.
    variables = {PID_FILE: PID, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)}
    # KubeRay chooses the name of the RayCluster, and labels its pods with it.
    cluster = {"fieldRef": {"fieldPath": "metadata.labels['ray.io/cluster']"}}
    head["env"] += [*env_vars(variables), {"name": RAY_CLUSTER, "valueFrom": cluster}]


def avoiding(ray_job: dict[str, Any], nodes: Sequence[str]) -> dict[str, Any]:
    """The RayJob, whose pods go to none of the nodes, besides those that it avoids already."""
    changed = copy.deepcopy(ray_job)
    cluster = changed["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ())):
        affinity = group["template"]["spec"].setdefault("affinity", {})
        required = affinity.setdefault("nodeAffinity", {}).setdefault(
            "requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": [{}]}
        )
        fields = required["nodeSelectorTerms"][0].setdefault("matchFields", [])
        # By the name, because a node's label of it may be another; each takes one value.
        fields += [{"key": "metadata.name", "operator": "NotIn", "values": [n]} for n in nodes]
    return changed


def _template(
    name: str,
    job: str,
    resources: dict[str, Any],
    requirements: Requirements,
    cluster: ClusterSettings,
    is_placed: bool,
) -> dict[str, Any]:
    spec = pod_spec(
        name,
        requirements.image or cluster.training_image,
        resources,
        cluster,
        env=env_vars(requirements.env_vars),
        secret=cluster.engine_secret,
        # Ray's processes share tensors there, and the node's own has 64 MiB.
        memory_folders=["/dev/shm"],  # noqa: S108
    )
    spec["terminationGracePeriodSeconds"] = GRACE_S
    selector = {**requirements.node_selector, **_gpu_selector(requirements, cluster)}
    if is_placed and selector:
        spec["nodeSelector"] = selector
    if is_placed and requirements.tolerations:
        spec["tolerations"] = requirements.tolerations
    # KubeRay labels pods with their RayCluster, and not with their RayJob.
    return {"metadata": {"labels": {**labels("job"), JOB_LABEL: job}}, "spec": spec}
