"""Images of services, built inside the cluster of the Bento in the bucket.

timeout: `BUILD_WITHIN_S`. retry: none of its own; a failed build is told with the builder's log.
cancel: the Job goes on and ends by itself. duplicate: the Job is named by the image; one that is
there is adopted, and a finished one is believed. partial write: a registry shows a tag once the
whole image is there.
"""

import contextlib
import hashlib
import json
import time
from typing import Any

from resources.cluster import AlreadyThere, Cluster
from resources.cluster_settings import ClusterSettings
from resources.pod_state import troubles_of
from resources.pods import AUTHORITIES, AUTHORITIES_MOUNT, environment, pod_spec, resources_of
from resources.pods import labels as labelled
from resources.runtime import DeploymentFailed
from resources.service_objects import LAST_WORDS
from resources.service_version import BUILT_BENTO

BUILD_WITHIN_S = 1_800
KEPT_AFTER_END_S = 3_600
CONTEXT = "/workspace"
BUILDER_USER = 1000
BUILDER_STATE = "/home/user/.local/share/buildkit"


def containerfile(base: str) -> str:
    """The image of a Bento: the serving image, and the Bento."""
    return f"FROM {base}\nCOPY --chown=10001:10001 bento {BUILT_BENTO}\n"


class ImageBuilder:
    """Builds and pushes images by Jobs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def build(self, name: str, version: str, bento_uri: str, digest: str, base: str) -> str:
        """Reference of the image, which is in the registry. Raises DeploymentFailed."""
        settings = self._cluster.settings
        content = json.dumps([name, digest, base]).encode()
        tag = f"{version}-{hashlib.sha256(content).hexdigest()[:10]}"
        image = f"{settings.registry.rstrip('/')}/{name}:{tag}"
        with contextlib.suppress(AlreadyThere):
            job = build_job(f"build-{tag}", image, bento_uri, digest, base, settings)
            self._cluster.create(job)
        self._await(f"build-{tag}")
        return image

    def _await(self, name: str) -> None:
        end = time.monotonic() + BUILD_WITHIN_S
        while time.monotonic() < end:
            found = self._cluster.get("Job", name)
            if found is None:
                raise DeploymentFailed(f"Job {name} is gone: somebody deleted it")
            status = found.get("status") or {}
            failed = [c for c in status.get("conditions") or () if c["type"] == "Failed"]
            if status.get("succeeded"):
                return
            if failed:
                said = self._said(name) or failed[0].get("message")
                # The next attempt builds anew.
                self._cluster.delete("Job", name)
                raise DeploymentFailed(f"the image was not built by Job {name}: {said}")
            time.sleep(self._cluster.settings.poll_s)
        raise DeploymentFailed(f"the image was not built within {BUILD_WITHIN_S} s by Job {name}")

    def _said(self, job: str) -> str:
        """The builder's log, or why it never began."""
        pods = self._cluster.find("Pod", f"job-name={job}")
        said = [self._cluster.log(p["metadata"]["name"]) or "; ".join(troubles_of(p)) for p in pods]
        return "\n".join(said).strip()


def build_job(
    name: str, image: str, bento_uri: str, digest: str, base: str, cluster: ClusterSettings
) -> dict[str, Any]:
    """The Job: the serving image fetches the Bento, BuildKit builds and pushes without root."""
    write = (
        "import pathlib; "
        f"pathlib.Path('{CONTEXT}/Containerfile').write_text("
        f"{containerfile(base)!r})"
    )
    fetch = [bento_uri, digest, f"{CONTEXT}/bento"]
    steps = {
        "fetch": ["python", "-m", "engine.fetch", *fetch],
        "containerfile": ["python", "-c", write],
    }
    prepared = []
    for step, command in steps.items():
        spec = pod_spec(
            step,
            cluster.serving_image,
            resources_of(0.1, "256Mi"),
            cluster,
            command=command,
            secret=cluster.bucket_secret,
        )
        container = spec["containers"][0] | LAST_WORDS
        container["volumeMounts"].append({"name": "context", "mountPath": CONTEXT})
        prepared.append(container)
    pod = pod_spec("build", cluster.builder_image, {}, cluster)
    pod["initContainers"] = prepared
    pod["containers"] = [_build_kit(image, cluster)]
    pod["volumes"] += [{"name": name, "emptyDir": {}} for name in ("context", "builder")]
    pod["restartPolicy"] = "Never"
    if cluster.pull_secrets:
        pod["volumes"].append(_credentials(cluster))
    metadata = {"name": name, "namespace": cluster.namespace, "labels": labelled("build")}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": BUILD_WITHIN_S,
            "ttlSecondsAfterFinished": KEPT_AFTER_END_S,
            "template": {"metadata": {"labels": labelled("build")}, "spec": pod},
        },
    }


def _build_kit(image: str, cluster: ClusterSettings) -> dict[str, Any]:
    folders = {"context": CONTEXT, "builder": BUILDER_STATE, "tmp": "/tmp"}  # noqa: S108
    mounts = [{"name": name, "mountPath": path} for name, path in folders.items()]
    mounts.append(AUTHORITIES_MOUNT)
    # Go reads it beside the system's own file.
    variables = {
        "BUILDKITD_FLAGS": "--oci-worker-no-process-sandbox",
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
        "env": environment(variables),
        "resources": resources_of(1, "2Gi"),
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
