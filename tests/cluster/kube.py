"""The official client over a cluster, and the manifests the contract tests write."""

import shlex
import shutil
import subprocess
from typing import Any

from kubernetes import client, config

from tests.cluster.double.nodes.images import PYTHON_IMAGE

RAY_JOBS = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
KUEUE = {"group": "kueue.x-k8s.io", "version": "v1beta2"}
SLEEP = "import time; time.sleep(600)"


class Kube:
    """The client's APIs with the test's namespace."""

    def __init__(self, cluster: Any):
        self.cluster = cluster
        self.namespace: str = cluster.namespace
        self.client = config.new_client_from_config(str(cluster.kubeconfig))
        self.core = client.CoreV1Api(self.client)
        self.batch = client.BatchV1Api(self.client)
        self.apps = client.AppsV1Api(self.client)
        self.custom = client.CustomObjectsApi(self.client)

    def create_pod(self, name: str, code: str, **options: Any) -> Any:
        return self.core.create_namespaced_pod(self.namespace, pod(name, code, **options))

    def create_job(self, name: str, code: str, labels: Any = None, **spec: Any) -> Any:
        return self.batch.create_namespaced_job(self.namespace, job(name, code, labels, **spec))

    def pod(self, name: str) -> Any:
        return self.core.read_namespaced_pod(name, self.namespace)

    def phase(self, name: str) -> str:
        return self.pod(name).status.phase

    def container(self, name: str) -> Any:
        """Status of the pod's first container, or None."""
        statuses = self.pod(name).status.container_statuses
        return statuses[0] if statuses else None

    def pods(self, labels: str) -> list[Any]:
        return self.core.list_namespaced_pod(self.namespace, label_selector=labels).items

    def log(self, name: str, **options: Any) -> str:
        """The raw log; the client would make a Python literal of it."""
        result = self.core.read_namespaced_pod_log(
            name, self.namespace, _preload_content=False, **options
        )
        return result.data.decode()

    def events(self, name: str) -> list[str]:
        """Reasons of the events about an object."""
        fields = f"involvedObject.name={name}"
        result = self.core.list_namespaced_event(self.namespace, field_selector=fields)
        return [event.reason for event in result.items]

    def job(self, name: str) -> Any:
        return self.batch.read_namespaced_job_status(name, self.namespace)

    def job_condition(self, name: str, kind: str) -> Any:
        conditions = self.job(name).status.conditions or ()
        return next((c for c in conditions if (c.type, c.status) == (kind, "True")), None)

    def ray_job(self, name: str) -> dict[str, Any]:
        """Status of a RayJob."""
        result = self.custom.get_namespaced_custom_object(
            namespace=self.namespace, name=name, **RAY_JOBS
        )
        return result.get("status") or {}

    def ray_state(self, name: str) -> str | None:
        """How far KubeRay is with a RayJob."""
        return self.ray_job(name).get("jobDeploymentStatus")

    def create_ray_job(self, name: str, code: str, labels: Any = None, **spec: Any) -> Any:
        return self.custom.create_namespaced_custom_object(
            namespace=self.namespace, body=ray_job(name, code, labels, **spec), **RAY_JOBS
        )

    def patch_ray_job(self, name: str, spec: dict[str, Any]) -> Any:
        return self.custom.patch_namespaced_custom_object(
            namespace=self.namespace, name=name, body={"spec": spec}, **RAY_JOBS
        )

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Output of kubectl."""
        assert shutil.which("kubectl")
        command = ["kubectl", f"--kubeconfig={self.cluster.kubeconfig}", "-n", self.namespace]
        done = subprocess.run(
            [*command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def container(code: str, **options: Any) -> dict[str, Any]:
    """A container that runs Python code."""
    command = ["python", "-uc", code]
    return {"name": "main", "image": PYTHON_IMAGE, "command": command, **options}


def pod(name: str, code: str, labels: Any = None, spec: Any = None, **options: Any) -> Any:
    """A pod of one container, which is not restarted."""
    defaults = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {**defaults, "containers": [container(code, **options)], **(spec or {})},
    }


def job(name: str, code: str, labels: Any = None, **spec: Any) -> dict[str, Any]:
    """A Job of one pod."""
    template = {"spec": pod(name, code)["spec"]}
    meta = {"name": name, "labels": labels or {}}
    body = {"template": template, "backoffLimit": 0, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": body}


def deployment(name: str, code: str, options: Any = None, **spec: Any) -> dict[str, Any]:
    """A Deployment of one container."""
    labels = {"app": name}
    pods = {"containers": [container(code, **(options or {}))], "terminationGracePeriodSeconds": 1}
    body = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pods},
        **spec,
    }
    meta = {"name": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": body}


def config_map(name: str, data: dict[str, str], labels: Any = None) -> dict[str, Any]:
    """A ConfigMap."""
    meta = {"name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def ray_job(name: str, code: str, labels: Any = None, **spec: Any) -> dict[str, Any]:
    """A RayJob with a head and one worker."""
    pods = {"containers": [container(SLEEP)], "terminationGracePeriodSeconds": 1}
    group = {"rayStartParams": {}, "template": {"spec": pods}}
    worker = {"groupName": "cpu", "replicas": 1, "minReplicas": 1, "maxReplicas": 1, **group}
    body = {
        "submissionMode": "HTTPMode",
        "entrypoint": f"python -uc {shlex.quote(code)}",
        "rayClusterSpec": {"headGroupSpec": group, "workerGroupSpecs": [worker]},
        **spec,
    }
    meta = {"name": name, "labels": labels or {}}
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": meta, "spec": body}
