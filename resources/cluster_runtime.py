"""The door to services on a cluster: a Deployment for each version, traffic by weights.

timeout: a version must be ready within its Deployment's progress deadline, besides the steps of
    the canary.
retry: Kubernetes starts a dying pod again; a version that dies at its start again and again, does
    not become ready, or answers with errors, is rolled back. A driver that is lost in the middle
    leaves what it reached, and its retry goes on from there.
cancel: a cancelled deployment gives the traffic back to the version before.
duplicate: objects are named by service and version, and applied; a release equal to the serving
    one changes nothing. Of two releases at once the later one goes on.
partial write: the version before keeps its objects until the new one has all traffic.
"""

import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.fetch import pack
from resources.cluster import Cluster, ClusterRefused, NotThere
from resources.cluster_settings import ClusterSettings
from resources.compute import ANY, NOBODY, Driver
from resources.image_builder import ImageBuilder
from resources.needs import Needs
from resources.object_store import ObjectStore
from resources.pod_state import is_rolled_out
from resources.runtime import DeploymentFailed
from resources.service_directory import NOTE, ServiceDirectory, notes_of
from resources.service_objects import KINDS_OF_A_SERVICE, entrance, objects_of, route
from resources.service_version import (
    SERVICE_LABEL,
    VERSION_LABEL,
    Version,
    object_name,
    version_name,
)
from resources.version_pods import Conduct, Start, VersionPods
from serving.contract import Release, ServiceStatus

OPTIONAL = ("ScaledObject", "HorizontalPodAutoscaler", "PodDisruptionBudget")
HANDED_OVER_WITHIN_S = 10.0


class Superseded(DeploymentFailed):
    """Somebody asked for another version of the service meanwhile, or withdrew it."""


class ClusterRuntime:
    """Deploys services to a namespace."""

    def __init__(self, cluster: Cluster, objects: ObjectStore, request_logs: Path) -> None:
        self._cluster, self._objects = cluster, objects
        self._settings: ClusterSettings = cluster.settings
        self._directory = ServiceDirectory(cluster)
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
        entered = self._cluster.get("Service", object_name(release.service))
        notes, mark = notes_of(entered), self._mark_of(release, needs)
        serving, name = notes.get("serving") or None, version_name(release.service, release.version)
        is_there = notes.get("release") == mark and notes.get("state") == "serving"
        if entered and is_there and self._cluster.get("Deployment", name):
            return self._directory.status_of(release.service, entered)
        version, reached = self._stored(release, needs, mark), 0
        if notes.get("target") == release.version and notes.get("state") == "canary":
            reached = int(notes["weight"])
        tell = _Teller(self, release, on_change)
        try:
            self._make(version, serving)
            self._enter(version, serving, "canary" if reached else "starting", reached)
            tell()
            self._await_pods(version, tell)
            self._widen(version, serving, reached, tell)
        except Superseded:
            self._drop(version, serving)
            raise
        except (DeploymentFailed, ClusterRefused) as error:
            self._roll_back(version, serving, str(error))
            with contextlib.suppress(Superseded):
                tell()
            raise DeploymentFailed(str(error)) from error
        except OSError:
            # Its retry goes on from here.
            raise
        except BaseException:
            if driver.is_cancelled():
                self._roll_back(version, serving, "the deployment was cancelled")
            raise
        self._enter(version, release.version, "serving", 100)
        self._remove(release.service, f"{VERSION_LABEL},{VERSION_LABEL}!={release.version}")
        return tell()

    def status(self, service: str) -> ServiceStatus | None:
        """What the service has reached, or None when the cluster knows none of that name."""
        return self._directory.status(service)

    def statuses(self) -> list[ServiceStatus]:
        """Status of every service."""
        return self._directory.statuses()

    def endpoint(self, service: str) -> str | None:
        """Where processes of the platform ask for predictions now, or None when nothing serves."""
        return self._directory.endpoint(service)

    def withdraw(self, service: str) -> None:
        """Stop serving; requests in progress are answered first."""
        self._remove(service)

    def _mark_of(self, release: Release, needs: Needs) -> str:
        """What tells apart releases of one version; where its bytes lie is no matter."""
        s = self._settings
        version = Version(release, needs, "", "", "", "", self._image(needs), bool(s.registry))
        made = [objects_of(version, s), route(release.service, {}, s), s.registry]
        return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]

    def _image(self, needs: Needs) -> str:
        """What answers, or what images that answer are built on."""
        return needs.image or self._settings.serving_image

    def _stored(self, release: Release, needs: Needs, mark: str) -> Version:
        """The version, whose Bento is in the bucket, and in an image where there is a registry."""
        service, image, is_built_in = release.service, self._image(needs), False
        with tempfile.TemporaryDirectory(prefix="bento-") as folder:
            archive = Path(folder, "bento.tar")
            digest = pack(release.bento, archive)
            # Pods of another archive of this version may start again, and find theirs.
            key = f"bentos/{service}/{release.version}/{digest}.tar"
            uri = self._objects.put_file(archive, key)
        if self._settings.registry:
            builder, is_built_in = ImageBuilder(self._cluster), True
            image = builder.build(object_name(service), release.version, uri, digest, image)
        return Version(
            release=release,
            needs=needs,
            mark=mark,
            bento_uri=uri,
            bento_digest=digest,
            requests_uri=self._objects.uri(f"requests/{service}"),
            image=image,
            is_built_in=is_built_in,
        )

    def _make(self, version: Version, serving: str | None) -> None:
        """Apply the version's objects, and delete those that it has no more."""
        made, release = objects_of(version, self._settings), version.release
        if release.most_replicas > release.replicas:
            # As many as have the traffic now: the autoscaler goes on from there.
            scaled = self._cluster.get("Deployment", version.name)
            if not scaled and serving:
                scaled = self._cluster.get("Deployment", version_name(release.service, serving))
            if scaled:
                replicas = min(scaled["spec"]["replicas"], release.most_replicas)
                made[0]["spec"]["replicas"] = max(replicas, release.replicas)
        # First: KEDA refuses what another autoscaler still has.
        for kind in set(OPTIONAL) - {thing["kind"] for thing in made}:
            self._cluster.delete(kind, version.name)
        for thing in made:
            self._apply(thing)

    def _apply(self, thing: dict[str, Any]) -> None:
        """Apply the object; KEDA may not have heard yet that the autoscaler before is gone."""
        end = time.monotonic() + HANDED_OVER_WITHIN_S
        while True:
            try:
                self._cluster.apply(thing)
                return
            except ClusterRefused:
                if thing["kind"] != "ScaledObject" or time.monotonic() > end:
                    raise
            time.sleep(self._settings.poll_s)

    def _await_pods(self, version: Version, tell: "_Teller") -> None:
        """Wait until the Deployment has its pods. Raises DeploymentFailed with their words."""
        start = Start(self._pods(version), self._settings.stuck_s)
        while True:
            found = self._cluster.get("Deployment", version.name)
            if found is None:
                raise DeploymentFailed(f"Deployment {version.name} is gone: somebody deleted it")
            if is_rolled_out(found, version.release.replicas):
                return
            if fault := start.fault(found):
                raise DeploymentFailed(f"{version.name} {fault}: {start.said}")
            tell(start.said)
            time.sleep(self._settings.poll_s)

    def _widen(self, version: Version, serving: str | None, reached: int, tell: "_Teller") -> None:
        """Give the version more and more of the traffic, for as long as it answers well."""
        is_first = serving in (None, version.release.version)
        steps = [100] if is_first or not self._settings.gateway else version.release.canary
        for percent in steps:
            if percent < reached:
                continue
            conduct = Conduct(self._pods(version))
            self._enter(version, serving, "canary", percent)
            tell()
            end = time.monotonic() + (0 if is_first else version.release.step_s)
            while time.monotonic() < end:
                time.sleep(min(self._settings.poll_s, max(0.0, end - time.monotonic())))
                if fault := conduct.fault():
                    raise DeploymentFailed(
                        f"version {version.release.version} {fault} at {percent} % of the traffic"
                    )
                tell()

    def _enter(self, version: Version, serving: str | None, state: str, percent: int) -> None:
        """Give the version its share of the traffic, and note it where everybody looks."""
        service, release = version.release.service, version.release
        others = serving if serving != release.version else None
        percent = 100 if serving and not others else percent
        notes = {"service": service, "state": state, "target": release.version, "message": ""}
        notes |= {"serving": serving or "", "weight": str(percent), "release": version.mark}
        if self._settings.gateway:
            shares = {version.name: percent if others else 100}
            if others:
                shares[version_name(service, others)] = 100 - percent
            self._cluster.apply(route(service, shares, self._settings))
        annotations = {f"{NOTE}{name}": value for name, value in notes.items()}
        led_to = entrance(version, self._settings, annotations)
        if percent < 100 and others:
            led_to["spec"]["selector"] = {**version.selector, VERSION_LABEL: others}
        self._cluster.apply(led_to)

    def _roll_back(self, version: Version, serving: str | None, why: str) -> None:
        """Give all traffic back to the version that served, and take the new one away."""
        service, target = version.release.service, version.release.version
        if notes_of(self._cluster.get("Service", object_name(service))).get("target") == target:
            if self._settings.gateway and serving:
                shares = {version_name(service, serving): 100}
                self._cluster.apply(route(service, shares, self._settings))
            elif self._settings.gateway:
                self._cluster.delete("HTTPRoute", object_name(service))
            weight = "100" if serving == target else "0"
            notes = {"state": "rolled_back", "weight": weight, "message": why, "release": ""}
            change = {
                "metadata": {"annotations": {f"{NOTE}{k}": v for k, v in notes.items()}},
                "spec": {"selector": {VERSION_LABEL: serving or target}},
            }
            self._cluster.merge("Service", object_name(service), change)
        self._drop(version, serving)

    def _drop(self, version: Version, serving: str | None) -> None:
        """Take the version away, unless it is the one that served before."""
        if serving != version.release.version:
            self._remove(version.release.service, f"{VERSION_LABEL}={version.release.version}")

    def _remove(self, service: str, which: str = "") -> None:
        """Delete the service's objects with the labels; by default all of them."""
        selector = ",".join(filter(None, [f"{SERVICE_LABEL}={object_name(service)}", which]))
        for kind in KINDS_OF_A_SERVICE:
            # Of every kind, whatever the settings are now; a cluster need not know them all.
            with contextlib.suppress(NotThere):
                for found in self._cluster.find(kind, selector):
                    self._cluster.delete(kind, found["metadata"]["name"])

    def _pods(self, version: Version) -> VersionPods:
        return VersionPods(self._cluster, version.selector)


class _Teller:
    """Tells whoever waits what has changed. Raises Superseded when that is another release."""

    def __init__(
        self, runtime: ClusterRuntime, release: Release, on_change: Callable[[ServiceStatus], None]
    ) -> None:
        self._runtime, self._release, self._on_change = runtime, release, on_change
        self._told: tuple | None = None

    def __call__(self, message: str = "") -> ServiceStatus:
        service, version = self._release.service, self._release.version
        status = self._runtime.status(service)
        if status is None:
            raise Superseded(f"{service} is gone: somebody withdrew it")
        if status.target != version:
            raise Superseded(f"{service} {version} gives way to {status.target}")
        if message:
            status = status.model_copy(update={"message": message})
        mark = (status.state, status.weight, status.message)
        if mark != self._told:
            self._told = mark
            self._on_change(status)
        return status
