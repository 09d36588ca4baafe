"""Images of services, built inside the cluster of the Bento in the bucket.

timeout: `BUILD_WITHIN_S`. retry: none of its own; a failed build is reported with its log.
cancel: the Job goes on and ends by itself. duplicate: the Job is named by the image; one that is
there is adopted, and a finished one is believed. partial write: a registry shows a tag once the
whole image is there.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.kubernetes_api.client import AlreadyThere, Cluster
from resources.kubernetes_api.pod_status import troubles_of
from resources.kubernetes_api.pod_template import (
    AUTHORITIES,
    AUTHORITIES_MOUNT,
    env_vars,
    pod_spec,
    resources_of,
)
from resources.kubernetes_api.pod_template import labels as labelled
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.manifests import LAST_WORDS
from resources.services.cluster.version import BUILT_BENTO
from resources.services.local import DeploymentFailed

BUILD_WITHIN_S = 1_800
KEPT_AFTER_END_S = 3_600
CONTEXT = "/workspace"
BUILDER_USER = 1000
BUILDER_STATE = "/home/user/.local/share/buildkit"


def containerfile(base: str) -> str:
    """The image of a Bento: the serving image, and the Bento."""
    return f"FROM {base}\nCOPY --chown=10001:10001 bento {BUILT_BENTO}\n"


@dataclass(frozen=True)
class Build:
    """One image that is to be built."""

    image: str
    bento_uri: str
    digest: str
    base: str
    variables: Mapping[str, str]
    """Settings of the platform, by which the bucket is reached."""

    @property
    def job(self) -> str:
        """Name of its Job."""
        return f"build-{self.image.rpartition(':')[2]}"


class ImageBuilder:
    """Builds and pushes images by Jobs, in a namespace that admits BuildKit."""

    def __init__(self, cluster: Cluster) -> None:
        self._platform = cluster
        self._cluster = cluster.within(cluster.settings.build_namespace or cluster.namespace)

    def build(self, name: str, version: str, bento_uri: str, digest: str, base: str) -> str:
        """Reference of the image, which is in the registry. Raises DeploymentFailed."""
        settings = self._cluster.settings
        content = json.dumps([name, digest, base]).encode()
        tag = f"{version}-{hashlib.sha256(content).hexdigest()[:10]}"
        image = f"{settings.registry.rstrip('/')}/{name}:{tag}"
        wanted = Build(image, bento_uri, digest, base, self._variables())
        with contextlib.suppress(AlreadyThere):
            self._cluster.create(build_job(wanted, settings))
        self._await(wanted.job)
        return image

    def _variables(self) -> dict[str, str]:
        """What the platform's ConfigMap holds, which pods of another namespace cannot name."""
        name = self._platform.settings.config_map
        config_map = self._platform.get("ConfigMap", name)
        if config_map is None:
            raise DeploymentFailed(f"there is no ConfigMap {name} in {self._platform.namespace}")
        return config_map.get("data") or {}

    def _await(self, name: str) -> None:
        end = time.monotonic() + BUILD_WITHIN_S
        while time.monotonic() < end:
            job = self._cluster.get("Job", name)
            if job is None:
                raise DeploymentFailed(f"Job {name} is gone: somebody deleted it")
            if (job.get("status") or {}).get("succeeded"):
                return
            if said := self._failure(job):
                # The next attempt builds anew.
                self._cluster.delete("Job", name)
                raise DeploymentFailed(f"the image was not built by Job {name}: {said}")
            time.sleep(self._cluster.settings.poll_s)
        raise DeploymentFailed(f"the image was not built within {BUILD_WITHIN_S} s by Job {name}")

    def _failure(self, job: Mapping[str, Any]) -> str:
        """Why there will be no image; empty while there may be one."""
        for condition in (job.get("status") or {}).get("conditions") or ():
            if condition["type"] == "Failed":
                return self._said(job) or condition.get("message") or "it failed"
        return self._refusal(job)

    def _said(self, job: Mapping[str, Any]) -> str:
        """The builder's log, or why it never began."""
        pods = self._pods(job)
        said = [self._cluster.log(p["metadata"]["name"]) or "; ".join(troubles_of(p)) for p in pods]
        return "\n".join(said).strip()

    def _refusal(self, job: Mapping[str, Any]) -> str:
        """Why the namespace admits no pod of the Job; empty where it does, or has not said yet."""
        # By its uid: events outlive an earlier Job of this name.
        of_it = f"involvedObject.uid={job['metadata']['uid']},reason=FailedCreate"
        said = [event.get("message") or "" for event in self._cluster.find("Event", fields=of_it)]
        return said[-1] if said and not any(self._pods(job)) else ""

    def _pods(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        return self._cluster.find("Pod", f"job-name={job['metadata']['name']}")


def build_job(build: Build, cluster: ClusterSettings) -> dict[str, Any]:
    """The Job: the serving image fetches the Bento, BuildKit builds and pushes without root."""
    pod = pod_spec("build", cluster.builder_image, {}, cluster)
    pod["initContainers"] = [_fetch(build, cluster), _write(build, cluster)]
    pod["containers"] = [_build_kit(build.image, cluster)]
    pod["volumes"] += [{"name": name, "emptyDir": {}} for name in ("context", "builder")]
    pod["restartPolicy"] = "Never"
    if cluster.pull_secrets:
        pod["volumes"].append(_credentials(cluster))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": build.job,
            "namespace": cluster.namespace,
            "labels": labelled("build"),
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": BUILD_WITHIN_S,
            "ttlSecondsAfterFinished": KEPT_AFTER_END_S,
            "template": {"metadata": {"labels": labelled("build")}, "spec": pod},
        },
    }


def _fetch(build: Build, cluster: ClusterSettings) -> dict[str, Any]:
    module = ["engine.fetch", build.bento_uri, build.digest, f"{CONTEXT}/bento"]
    return _step("fetch", ["python", "-m", *module], cluster) | {
        "env": env_vars(build.variables),
        "envFrom": [{"secretRef": {"name": cluster.bucket_secret}}],
    }


def _write(build: Build, cluster: ClusterSettings) -> dict[str, Any]:
    program = (
        "import pathlib; "
        f"pathlib.Path('{CONTEXT}/Containerfile').write_text({containerfile(build.base)!r})"
    )
    return _step("containerfile", ["python", "-c", program], cluster)


def _step(name: str, command: Sequence[str], cluster: ClusterSettings) -> dict[str, Any]:
    """A container of the serving image that writes into the context."""
    resources = resources_of(cluster, 0.1, "256Mi")
    spec = pod_spec(name, cluster.serving_image, resources, cluster, command=command)
    container = spec["containers"][0] | LAST_WORDS | {"envFrom": []}
    container["volumeMounts"].append({"name": "context", "mountPath": CONTEXT})
    return container


def _build_kit(image: str, cluster: ClusterSettings) -> dict[str, Any]:
    folders = {"context": CONTEXT, "builder": BUILDER_STATE, "tmp": "/tmp"}  # noqa: S108
    mounts = [{"name": name, "mountPath": path} for name, path in folders.items()]
    mounts.append(AUTHORITIES_MOUNT)
    variables = {
        # Without it BuildKit would need a privileged container.
        "BUILDKITD_FLAGS": "--oci-worker-no-process-sandbox",
        # Go reads it beside the system's own file.
        "SSL_CERT_DIR": AUTHORITIES,
    }
    if cluster.pull_secrets:
        mounts.append({"name": "credentials", "mountPath": "/home/user/.docker"})
    return {
        "name": "build",
        "image": cluster.builder_image,
        "command": [
            *["buildctl-daemonless.sh", "build", "--frontend", "dockerfile.v0"],
            *["--local", f"context={CONTEXT}", "--local", f"dockerfile={CONTEXT}"],
            *["--opt", "filename=Containerfile"],
            *["--output", f"type=image,name={image},push=true"],
        ],
        "env": env_vars(variables),
        "resources": resources_of(cluster, 1, "2Gi"),
        # BuildKit without root makes user namespaces, which the default profiles forbid.
        "securityContext": {
            "runAsUser": BUILDER_USER,
            "runAsGroup": BUILDER_USER,
            "seccompProfile": {"type": "Unconfined"},
            "appArmorProfile": {"type": "Unconfined"},
        },
        "volumeMounts": mounts,
    }


def _credentials(cluster: ClusterSettings) -> dict[str, Any]:
    items = [{"key": ".dockerconfigjson", "path": "config.json"}]
    secret = {"secretName": cluster.pull_secrets[0]["name"], "items": items}
    return {"name": "credentials", "secret": secret}
