"""The door to services on a cluster: a Deployment for each version, traffic by weights.

timeout: a version must be ready within its Deployment's progress deadline, besides the steps of
    the canary.
retry: Kubernetes starts a dying pod again; a version that does not become ready, or that answers
    with errors, is rolled back. A driver that is lost in the middle leaves what it reached, and
    its retry goes on from there.
cancel: a cancelled deployment gives the traffic back to the version before.
duplicate: objects are named by service and version, and applied; a release equal to the serving
    one changes nothing.
partial write: the version before keeps its objects until the new one has all traffic.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.artefact import seal
from resources.cluster import Cluster
from resources.cluster_settings import ClusterSettings
from resources.compute import ANY, NOBODY, Driver
from resources.image_builder import ImageBuilder
from resources.needs import Needs
from resources.object_store import ObjectStore
from resources.pod_state import is_stuck
from resources.runtime import DeploymentFailed, predict
from resources.service_objects import (
    SERVICE_LABEL,
    VERSION_LABEL,
    Version,
    entrance,
    object_name,
    objects_of,
    route,
)
from resources.version_pods import VersionPods
from serving.contract import Release, ServiceStatus

KINDS = (
    "HTTPRoute",
    "Service",
    "ScaledObject",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Deployment",
)
NOTE = "orrery/"
MOST_ERRORS = 0.02
"""Share of server errors at which a canary is rolled back."""


class ClusterRuntime:
    """Deploys services to a namespace."""

    def __init__(self, cluster: Cluster, objects: ObjectStore, request_logs: Path) -> None:
        self._cluster, self._objects = cluster, objects
        self._settings: ClusterSettings = cluster.settings
        self.request_logs = request_logs

    def bento_home(self, workdir: Path) -> Path:
        """Folder of the BentoML store that packages."""
        return workdir / "bentoml"

    def deploy(
        self,
        release: Release,
        on_change: Callable[[ServiceStatus], None],
        needs: Needs = ANY,
        driver: Driver = NOBODY,
    ) -> ServiceStatus:
        """Status once the release has all traffic. Raises DeploymentFailed or OSError."""
        version = self._stored(release, needs)
        before = self.status(release.service)
        serving = before.serving if before else None
        if before and serving == release.version and before.state == "serving":
            return before
        tell = _Teller(self, release.service, on_change)
        for thing in objects_of(version, self._settings):
            self._cluster.apply(thing)
        try:
            self._enter(version, serving, "starting", 0)
            tell()
            self._await_pods(version, tell)
            self._widen(version, serving, tell)
        except DeploymentFailed as error:
            self._roll_back(version, serving, str(error))
            tell()
            raise
        except OSError:
            # Its retry goes on from here.
            raise
        except BaseException:
            if driver.is_cancelled():
                self._roll_back(version, serving, "the deployment was cancelled")
            raise
        self._enter(version, release.version, "serving", 100)
        self._remove(release.service, keep=release.version)
        return tell()

    def status(self, service: str) -> ServiceStatus | None:
        """What the service has reached, or None when the cluster knows none of that name."""
        found = self._cluster.get("Service", object_name(service))
        return self._status_of(service, found) if found else None

    def statuses(self) -> list[ServiceStatus]:
        """Status of every service."""
        found = self._cluster.find("Service", f"{SERVICE_LABEL},!{VERSION_LABEL}")
        named = ((each["metadata"]["annotations"][f"{NOTE}service"], each) for each in found)
        return [self._status_of(name, each) for name, each in sorted(named, key=lambda n: n[0])]

    def withdraw(self, service: str) -> None:
        """Stop serving; requests in progress are answered first."""
        self._remove(service, keep=None)

    def predict(self, url: str, inputs: list[Any]) -> dict[str, Any]:
        """Answer of the service. Raises DeploymentFailed when it is not an answer."""
        return predict(url, inputs)

    def _stored(self, release: Release, needs: Needs) -> Version:
        """The version, whose Bento is in the bucket, and in an image where there is a registry."""
        content = release.bento.with_name(f"{release.bento.name}.sealed")
        shutil.rmtree(content, ignore_errors=True)
        shutil.copytree(release.bento, content)
        digest = seal(content)
        uri = self._objects.put_folder(content, f"bentos/{release.service}/{release.version}")
        shutil.rmtree(content)
        image, is_built_in = self._settings.serving_image, bool(self._settings.registry)
        if is_built_in:
            builder = ImageBuilder(self._cluster)
            image = builder.build(object_name(release.service), release.version, uri, digest)
        return Version(
            release=release,
            needs=needs,
            bento_uri=uri,
            bento_digest=digest,
            requests_uri=self._objects.uri(f"requests/{release.service}"),
            image=image,
            is_built_in=is_built_in,
        )

    def _await_pods(self, version: Version, tell: "_Teller") -> None:
        """Wait until the Deployment has its pods. Raises DeploymentFailed with their words."""
        stuck_since: float | None = None
        while True:
            found = self._cluster.get("Deployment", version.name)
            if found is None:
                raise DeploymentFailed(f"Deployment {version.name} is gone: somebody deleted it")
            status = found.get("status") or {}
            is_seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            ready = status.get("readyReplicas", 0)
            if is_seen and ready >= version.release.replicas:
                return
            said = self._pods(version).troubles()
            conditions = {c["type"]: c for c in status.get("conditions") or ()}
            progressing = conditions.get("Progressing", {})
            if progressing.get("reason") == "ProgressDeadlineExceeded":
                raise DeploymentFailed(
                    f"{version.name} did not become ready: {said or progressing.get('message')}"
                )
            stuck_since = (stuck_since or time.monotonic()) if is_stuck(said) else None
            if stuck_since and time.monotonic() - stuck_since > self._settings.stuck_s:
                raise DeploymentFailed(f"{version.name} cannot start: {said}")
            tell(said)
            time.sleep(self._settings.poll_s)

    def _widen(self, version: Version, serving: str | None, tell: "_Teller") -> None:
        """Give the version more and more of the traffic, for as long as it answers well."""
        steps = version.release.canary if serving and self._settings.gateway else [100]
        for percent in steps:
            before, restarts = self._pods(version).answers(), self._pods(version).restarts()
            self._enter(version, serving, "canary", percent)
            tell()
            end = time.monotonic() + (version.release.step_s if serving else 0)
            while time.monotonic() < end:
                time.sleep(min(self._settings.poll_s, max(0.0, end - time.monotonic())))
                self._refuse_a_failing(version, before, restarts, percent)

    def _refuse_a_failing(
        self, version: Version, before: tuple[int, int], restarts: int, percent: int
    ) -> None:
        answered, errors = self._pods(version).answers()
        answered, errors = answered - before[0], errors - before[1]
        if errors > max(1, MOST_ERRORS * answered):
            raise DeploymentFailed(
                f"version {version.release.version} answered {errors} of {answered} requests with "
                f"errors at {percent} % of the traffic"
            )
        if self._pods(version).restarts() > restarts:
            raise DeploymentFailed(
                f"version {version.release.version} died at {percent} % of the traffic: "
                f"{self._pods(version).troubles()}"
            )

    def _enter(self, version: Version, serving: str | None, state: str, percent: int) -> None:
        """Give the version its share of the traffic, and note it where everybody looks."""
        service, release = version.release.service, version.release
        notes = {"service": service, "state": state, "target": release.version}
        notes |= {"serving": serving or "", "weight": str(percent), "message": ""}
        if self._settings.gateway:
            old = f"{object_name(service)}-{serving}"
            shares = {version.name: percent}
            if serving and serving != release.version:
                shares[old] = 100 - percent
            self._cluster.apply(route(service, shares, self._settings))
        annotations = {f"{NOTE}{name}": value for name, value in notes.items()}
        led_to = entrance(version, self._settings, annotations)
        if percent < 100 and serving:
            led_to["spec"]["selector"] = {**version.selector, VERSION_LABEL: serving}
        self._cluster.apply(led_to)

    def _roll_back(self, version: Version, serving: str | None, why: str) -> None:
        """Give all traffic back to the version that served, and take the new one away."""
        service = version.release.service
        if serving and self._settings.gateway:
            shares = {f"{object_name(service)}-{serving}": 100}
            self._cluster.apply(route(service, shares, self._settings))
        notes = {f"{NOTE}state": "rolled_back", f"{NOTE}weight": "0", f"{NOTE}message": why}
        change: dict[str, Any] = {"metadata": {"annotations": notes}}
        if serving:
            change["spec"] = {"selector": {VERSION_LABEL: serving}}
        self._cluster.merge("Service", object_name(service), change)
        self._remove(service, keep=serving or "", only=version.release.version)

    def _remove(self, service: str, keep: str | None, only: str | None = None) -> None:
        """Delete versions' objects but those of the one to keep; None keeps nothing at all."""
        selector = f"{SERVICE_LABEL}={object_name(service)}"
        if keep is not None:
            selector += f",{VERSION_LABEL},{VERSION_LABEL}!={keep}"
        if only is not None:
            selector += f",{VERSION_LABEL}={only}"
        for kind in KINDS:
            if self._is_used(kind):
                for found in self._cluster.find(kind, selector):
                    self._cluster.delete(kind, found["metadata"]["name"])

    def _is_used(self, kind: str) -> bool:
        """Whether objects of the kind are made here; others need not be known to the cluster."""
        if kind == "HTTPRoute":
            return bool(self._settings.gateway)
        return kind != "ScaledObject" or self._settings.autoscaler == "keda"

    def _pods(self, version: Version) -> VersionPods:
        return VersionPods(self._cluster, version.selector)

    def _status_of(self, service: str, found: dict[str, Any]) -> ServiceStatus:
        noted = found["metadata"].get("annotations") or {}
        labels = {SERVICE_LABEL: object_name(service)}
        notes = {k.removeprefix(NOTE): v for k, v in noted.items() if k.startswith(NOTE)}
        return ServiceStatus.model_validate(
            {
                "service": service,
                "state": notes["state"],
                "target": notes["target"],
                "serving": notes["serving"] or None,
                "weight": int(notes["weight"]),
                "url": self._url(service),
                "message": notes["message"],
                "replicas": VersionPods(self._cluster, labels).replicas(),
            }
        )

    def _url(self, service: str) -> str:
        """Address of predictions: at the gateway, or within the cluster."""
        if self._settings.services_url:
            return f"{self._settings.services_url.rstrip('/')}/{service}/predict"
        return f"http://{object_name(service)}.{self._settings.namespace}.svc/predict"


class _Teller:
    """Tells whoever waits what has changed."""

    def __init__(
        self, runtime: ClusterRuntime, service: str, on_change: Callable[[ServiceStatus], None]
    ) -> None:
        self._runtime, self._service, self._on_change = runtime, service, on_change
        self._told: tuple | None = None

    def __call__(self, message: str = "") -> ServiceStatus:
        status = self._runtime.status(self._service)
        if status is None:
            raise DeploymentFailed(f"{self._service} is gone: somebody withdrew it")
        if message:
            status = status.model_copy(update={"message": message})
        mark = (status.state, status.weight, status.message)
        if mark != self._told:
            self._told = mark
            self._on_change(status)
        return status
