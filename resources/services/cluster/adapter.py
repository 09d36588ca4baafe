"""The adapter of services on a cluster: a Deployment for each version, traffic by weights.

timeout: a version must be ready within its Deployment's progress deadline, besides the steps of
    the canary.
retry: Kubernetes starts a dying pod again; a version that dies at its start again and again, does
    not become ready, or answers with errors, is rolled back. A driver that is lost in the middle
    leaves what it reached, and its retry goes on from there.
cancel: a cancelled deployment gives the traffic back to the version before.
duplicate: objects are named by service and version, and applied; a deployment equal to the
    serving one changes nothing. Of two deployments at once the one that was requested later goes
    on, and the driver of the other raises Superseded.
partial write: what is decided is noted before it is done, and repeated by the next driver; the
    version before keeps its objects until the new one has all traffic.
"""

import contextlib
import hashlib
import json
import logging
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.fetch import pack
from resources.compute.contract import ANY, NOBODY, Driver
from resources.compute.requirements import Requirements
from resources.kubernetes_api.client import Cluster, ClusterRefused
from resources.kubernetes_api.pod_status import is_rolled_out
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.changes import Changes
from resources.services.cluster.directory import ServiceDirectory
from resources.services.cluster.forms import Forms
from resources.services.cluster.image_builder import ImageBuilder
from resources.services.cluster.manifests import objects_of, route
from resources.services.cluster.pods import Conduct, Start, VersionPods
from resources.services.cluster.removal import Removal
from resources.services.cluster.rollout import ClusterRollout
from resources.services.cluster.rollout_notes import NoteBook
from resources.services.cluster.version import (
    SERVICE_LABEL,
    VERSION_LABEL,
    Version,
    object_name,
    version_name,
)
from resources.services.in_use import InUse
from resources.services.local import DeploymentFailed, Superseded
from resources.storage.object_store import ObjectStore
from serving.contract import Deployment, ServiceStatus
from serving.rollout import Failed, Rollout, Seen, Stopped, Variant

log = logging.getLogger(__name__)
OPTIONAL = ("ScaledObject", "HorizontalPodAutoscaler", "PodDisruptionBudget")
HANDED_OVER_WITHIN_S = 10.0
GOING = ("starting", "canary")


class ClusterRuntime:
    """Deploys services to a namespace."""

    def __init__(
        self,
        cluster: Cluster,
        objects: ObjectStore,
        request_logs: Path,
        *,
        leaves_stops: bool = False,
    ) -> None:
        """One that leaves stops to the sweep changes no pod's template: who may do that may mount
        any Secret, and a gateway may not."""
        self._cluster, self._objects, self._leaves_stops = cluster, objects, leaves_stops
        self._settings: ClusterSettings = cluster.settings
        self._directory, self._notes = ServiceDirectory(cluster), NoteBook(cluster)
        self._forms, self._removal = Forms(objects), Removal(cluster, self._notes)
        self.request_logs = request_logs

    def bento_home(self, workdir: Path) -> Path:
        """Folder of the BentoML store that packages."""
        return workdir / "bentoml"

    def deploy(
        self,
        deployment: Deployment,
        on_change: Callable[[ServiceStatus], None],
        requirements: Requirements = ANY,
        driver: Driver = NOBODY,
    ) -> ServiceStatus:
        """Status once the deployment has all traffic. Raises DeploymentFailed or OSError."""
        mark, variant = self._mark_of(deployment, requirements), Variant(deployment.version)
        if self._is_reached(deployment, mark) and (status := self.status(deployment.service)):
            return status
        deployed = deployment.model_copy(update={"request": deployment.request or driver.run})
        version = self._stored(deployed, requirements, mark)
        rollout = ClusterRollout(self._cluster, deployment.service, variant)
        tell = Changes(self.status, deployment.service, on_change)
        try:
            self._make(version, rollout.begin(version))
            self._carry_out(version, rollout, tell)
        except Superseded:
            self._removal.clear(deployment.service)
            raise
        except (DeploymentFailed, ClusterRefused) as error:
            self._end(rollout, Failed(variant=variant, why=str(error)))
            with contextlib.suppress(Superseded):
                tell()
            raise DeploymentFailed(str(error)) from error
        except OSError:
            # Its retry goes on from here.
            raise
        except BaseException:
            if driver.is_cancelled():
                self._end(
                    rollout, Stopped(why=f"the deployment of {deployment.version} was stopped")
                )
            raise
        self._removal.clear(deployment.service)
        return tell()

    def status(self, service: str) -> ServiceStatus | None:
        """What the service has reached, or None when the cluster knows none of that name."""
        return self._directory.status(service)

    def statuses(self) -> list[ServiceStatus]:
        """Status of every service."""
        return self._directory.statuses()

    def in_use(self) -> list[InUse]:
        """Every version that must not lose what it answers with."""
        return self._directory.in_use()

    def endpoint(self, service: str) -> str | None:
        """One of the addresses, drawn by their shares; None when nothing answers."""
        endpoints = self.endpoints(service)
        return random.choices(list(endpoints), list(endpoints.values()))[0] if endpoints else None

    def endpoints(self, service: str) -> dict[str, int]:
        """Percent of the requests that processes of the platform send to each address."""
        return self._directory.endpoints(service)

    def undeploy(self, service: str) -> None:
        """Stop serving; requests in progress are answered first."""
        self._removal.remove(service)

    def stop(self, service: str, run: str) -> None:
        """Stop the deployment of the service that the dagster_run has requested, if it goes on."""
        notes = None if self._leaves_stops else self._notes.read(service)
        if notes is None or notes.record.request != run:
            return
        target = notes.record.rollout.target
        if target is not None and notes.record.rollout.outcome == "under_way":
            rollout = ClusterRollout(self._cluster, service, target)
            self._end(rollout, Stopped(why=f"the deployment of {target.version} was stopped"))

    def end_abandoned(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """Services whose deployment nobody waits for, now stopped."""
        going = [each for each in self.statuses() if each.state in GOING and each.request]
        stopped = []
        for status in going:
            if is_wanted(status.request):
                continue
            try:
                self.stop(status.service, status.request)
                stopped.append(status.service)
            except ClusterRefused as error:
                # One that cannot be stopped keeps no other.
                log.warning("the deployment of %s goes on: %s", status.service, error)
        return stopped

    def _is_reached(self, deployment: Deployment, mark: str) -> bool:
        """Whether the very deployment has all traffic, and its objects are there."""
        notes = self._notes.read(deployment.service)
        if notes is None or notes.record.mark != mark:
            return False
        rollout, variant = notes.record.rollout, Variant(deployment.version)
        is_reached = rollout.outcome == "reached" and rollout.target == rollout.serving == variant
        name = version_name(deployment.service, deployment.version)
        return is_reached and self._cluster.get("Deployment", name) is not None

    def _mark_of(self, deployment: Deployment, requirements: Requirements) -> str:
        """What tells apart deployments of one version; where its bytes lie is no matter."""
        s = self._settings
        if requirements.memory_limit is not None:
            # Measured, and a little different each time.
            requirements = replace(requirements, memory="", memory_limit=None)
        version = Version(
            deployment, requirements, "", "", "", "", self._image(requirements), bool(s.registry)
        )
        objects = [objects_of(version, s), route(deployment.service, {}, s), s.registry]
        return hashlib.sha256(json.dumps(objects, sort_keys=True).encode()).hexdigest()[:16]

    def _image(self, requirements: Requirements) -> str:
        """What answers, or what images that answer are built on."""
        return requirements.image or self._settings.serving_image

    def _stored(self, deployment: Deployment, requirements: Requirements, mark: str) -> Version:
        """The version, whose Bento is in the bucket, and in an image where there is a registry."""
        service, image, is_built_in = deployment.service, self._image(requirements), False
        with tempfile.TemporaryDirectory(prefix="bento-") as folder:
            archive = Path(folder, "bento.tar")
            digest = pack(deployment.bento, archive)
            # Pods of another archive of this version may start again, and find theirs.
            key = f"bentos/{service}/{deployment.version}/{digest}.tar"
            uri = self._objects.put_file(archive, key)
        if self._settings.registry:
            builder, is_built_in = ImageBuilder(self._cluster), True
            image = builder.build(object_name(service), deployment.version, uri, digest, image)
        return Version(
            deployment=deployment,
            requirements=requirements,
            mark=mark,
            bento_uri=uri,
            bento_digest=digest,
            requests_uri=self._objects.uri(f"requests/{service}"),
            image=image,
            is_built_in=is_built_in,
        )

    def _make(self, version: Version, rollout: Rollout) -> None:
        """Apply the version's objects, and delete those that it has no more."""
        objects, deployment = objects_of(version, self._settings), version.deployment
        serving = rollout.serving.version if rollout.serving else None
        if deployment.most_replicas > deployment.replicas:
            # As many as have the traffic now: the autoscaler goes on from there.
            scaled = self._cluster.get("Deployment", version.name)
            if not scaled and serving:
                scaled = self._cluster.get("Deployment", version_name(deployment.service, serving))
            if scaled:
                replicas = min(scaled["spec"]["replicas"], deployment.most_replicas)
                objects[0]["spec"]["replicas"] = max(replicas, deployment.replicas)
        # What the version goes back to when a later form of it fails.
        self._forms.keep(deployment.service, version.mark, objects)
        self._apply_all(version.name, objects)

    def _apply_all(self, name: str, objects: list[dict[str, Any]]) -> None:
        """Let the version of that name have these objects, and no others."""
        # First: KEDA refuses what another autoscaler still has.
        for kind in set(OPTIONAL) - {thing["kind"] for thing in objects}:
            self._cluster.delete(kind, name)
        for thing in objects:
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

    def _carry_out(self, version: Version, rollout: ClusterRollout, tell: Changes) -> None:
        """Give the version more and more of the traffic, for as long as it does well.

        Raises DeploymentFailed with the words of the pods, or Superseded.
        """
        pods = self._pods(version)
        start, conduct = Start(pods, self._settings.stuck_s), Conduct(pods)
        step: int | None = None
        while True:
            deployed = self._objects_of(version)
            state = rollout.advance(self._seen(deployed, version))
            reached = state.candidate.step if state.candidate else None
            if reached != step:
                step, conduct = reached, Conduct(pods)
            rollout.lead(state)
            if state.outcome == "reached":
                return
            if (own := deployed.get(version.deployment.version)) is None:
                raise DeploymentFailed(f"Deployment {version.name} is gone: somebody deleted it")
            if state.candidate is None or step is None:
                if fault := start.fault(own):
                    raise DeploymentFailed(f"{version.name} {fault}: {start.said}")
                tell(start.said)
            else:
                tell()
                if fault := conduct.fault():
                    raise DeploymentFailed(
                        f"version {version.deployment.version} {fault} at "
                        f"{state.candidate.steps[step]} % of the traffic"
                    )
            time.sleep(self._settings.poll_s)

    def _objects_of(self, version: Version) -> dict[str, dict[str, Any]]:
        """Deployments of the service by their versions."""
        labels = f"{SERVICE_LABEL}={object_name(version.deployment.service)}"
        deployed = self._cluster.find("Deployment", labels)
        return {each["metadata"]["labels"][VERSION_LABEL]: each for each in deployed}

    def _seen(self, deployed: dict[str, dict[str, Any]], version: Version) -> Seen:
        ready = {v for v, each in deployed.items() if each.get("status", {}).get("readyReplicas")}
        own = deployed.get(version.deployment.version)
        is_whole = own is not None and is_rolled_out(own, version.deployment.replicas)
        return Seen(
            ready=frozenset(map(Variant, ready)),
            whole=frozenset({Variant(version.deployment.version)} if is_whole else ()),
        )

    def _end(self, rollout: ClusterRollout, event: Failed | Stopped) -> None:
        """Give all traffic back to the version that served, and take the new one away."""
        with contextlib.suppress(Superseded):
            rollout.lead(rollout.advance(event))
            self._go_back(rollout.service)
        self._removal.clear(rollout.service)

    def _go_back(self, service: str) -> None:
        """Give the version that serves the form back that it had before the one that failed."""
        notes = self._notes.read(service)
        serving = notes.record.rollout.serving if notes else None
        if not notes or not serving or not notes.record.is_new_form_of_what_serves:
            return
        if objects := self._forms.of(service, notes.record.served):
            self._apply_all(version_name(service, serving.version), objects)

    def _pods(self, version: Version) -> VersionPods:
        return VersionPods(self._cluster, version.selector)
