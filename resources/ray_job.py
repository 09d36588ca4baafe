"""The RayJob of one engine job, as KubeRay reads it."""

from typing import Any

from resources.cluster_settings import ClusterSettings
from resources.needs import Needs
from resources.pods import environment, labels, pod_spec, resources_of

RAY_VERSION = "2.60.0"
KEPT_AFTER_END_S = 600
GRACE_S = 60
HEAD_OF_MANY = resources_of(cpus=1, memory="4Gi")
SUSPENDED_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
JOB_LABEL = "orrery/job"
MODULE_LABEL = "orrery/engine"
RUN_LABEL = "orrery/run"


def name_of(job: str) -> str:
    """Name of the job's RayJob: the same for every attempt and every driver."""
    return f"orrery-{job}"


def ray_job(
    job: str, module: str, uri: str, run: str, needs: Needs, cluster: ClusterSettings
) -> dict[str, Any]:
    """The RayJob that runs the module on the job's folder in the bucket.

    One worker is the head itself: a job of one process needs no second pod. More workers are pods
    of a group, and the head only keeps them together.
    """
    queue = needs.queue or cluster.queue
    queued = {SUSPENDED_LABEL: queue} if queue else {}
    priority = {PRIORITY_LABEL: needs.priority} if queue and needs.priority else {}
    spec: dict[str, Any] = {
        "entrypoint": f"python -m engine.remote {uri} {module} {cluster.lease_s:g}",
        "submissionMode": "HTTPMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEPT_AFTER_END_S,
        "backoffLimit": 0,
        "rayClusterSpec": _ray_cluster(needs, cluster),
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


def _ray_cluster(needs: Needs, cluster: ClusterSettings) -> dict[str, Any]:
    each = resources_of(needs.cpus, needs.memory, needs.gpus)
    is_one = needs.workers == 1
    head_params = {"dashboard-host": "0.0.0.0"} | ({} if is_one else {"num-cpus": "0"})  # noqa: S104
    head = _template("ray-head", each if is_one else HEAD_OF_MANY, needs, cluster, is_placed=is_one)
    found: dict[str, Any] = {
        "rayVersion": RAY_VERSION,
        "headGroupSpec": {"rayStartParams": head_params, "template": head},
    }
    if not is_one:
        found["enableInTreeAutoscaling"] = False
        found["workerGroupSpecs"] = [
            {
                "groupName": "workers",
                "replicas": needs.workers,
                "minReplicas": needs.min_workers,
                "maxReplicas": needs.workers,
                "rayStartParams": {},
                "template": _template("ray-worker", each, needs, cluster, is_placed=True),
            }
        ]
    return found


def _template(
    name: str, resources: dict[str, Any], needs: Needs, cluster: ClusterSettings, is_placed: bool
) -> dict[str, Any]:
    spec = pod_spec(
        name,
        needs.image or cluster.training_image,
        resources,
        cluster,
        environment=environment(needs.environment),
        # Ray's processes share tensors there, and the node's own has 64 MiB.
        secret=cluster.engine_secret,
        memory_folders=["/dev/shm"],  # noqa: S108
    )
    spec["terminationGracePeriodSeconds"] = GRACE_S
    if is_placed and needs.node_selector:
        spec["nodeSelector"] = needs.node_selector
    if is_placed and needs.tolerations:
        spec["tolerations"] = needs.tolerations
    return {"metadata": {"labels": labels("job")}, "spec": spec}
