"""What a cluster is given: the objects of an overlay, and those that a project's jobs and services
become there."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from typing_extensions import override

from deploy import kustomize
from deploy.kustomize import NotRendered
from projects.loading import LoadedProject, load_project
from projects.nearest import hint
from projects.schema import Service
from resources.compute.rayjob.manifest import ray_job
from resources.compute.requirements import Requirements
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.manifests import entrance, objects_of, route
from resources.services.cluster.version import Version
from resources.settings import CHECKOUT
from serving.contract import Deployment, RequestLogPlan

OVERLAYS = CHECKOUT / "deploy" / "kubernetes" / "overlays"
PROJECTS = CHECKOUT / "projects"
SETTINGS = "orrery-settings"
PREFIX = "ORRERY_CLUSTER_"
JOB = "0123456789abcdef0123"
RUN = "01234567-89ab-4cde-8f01-23456789abcd"
VERSION = "v1-0123456789ab"
DIGEST, MARK = "0" * 64, "0" * 16


def stream(overlay: str, project: str) -> str:
    """YAML documents. Raises NotRendered or InvalidProject."""
    declared = load_project(_file_of(project))
    deployed = rendered(overlay)
    example = Example(declared, deployed)
    return yaml.dump_all(
        [*deployed, *example.service(), example.job()],
        sort_keys=False,
        explicit_start=True,
        Dumper=Plain,
    )


def rendered(overlay: str) -> list[dict[str, Any]]:
    """Objects of the overlay. Raises NotRendered."""
    folder = OVERLAYS / overlay
    if not OVERLAYS.is_dir():
        raise NotRendered(f"there is no folder {OVERLAYS}; images have none, a checkout does")
    if not (folder / "kustomization.yaml").is_file():
        known = sorted(path.name for path in OVERLAYS.iterdir())
        raise NotRendered(f"got the overlay {overlay!r}, expected one of {', '.join(known)}")
    return kustomize.rendered(folder)


def _file_of(project: str) -> Path:
    file = PROJECTS / f"{project}.yaml"
    if not file.is_file():
        near = [path.stem for path in PROJECTS.glob("*.yaml")]
        raise NotRendered(f"there is no project {project!r} in {PROJECTS}{hint(project, near)}")
    return file


@dataclass(frozen=True)
class Example:
    """A project's first service and first model, as the adapters would ask a cluster for them."""

    project: LoadedProject
    deployed: list[dict[str, Any]]

    def service(self) -> list[dict[str, Any]]:
        """Objects of a service that has just been deployed for the first time."""
        name, declared = next(iter(self.project.declaration.services.items()))
        full_name = f"{self.project.name}.{name}"
        requirements = Requirements.of_service(declared)
        version = Version(
            deployment=_deployment(full_name, declared),
            requirements=requirements,
            mark=MARK,
            bento_uri=f"{self._objects}/bentos/{full_name}/{VERSION}/{DIGEST}.tar",
            bento_digest=DIGEST,
            requests_uri=f"{self._objects}/requests/{full_name}",
            image=requirements.image or self._cluster.serving_image,
            is_built_in=False,
        )
        objects = [*objects_of(version, self._cluster), entrance(version, self._cluster, {})]
        if self._cluster.gateway:
            objects.append(route(full_name, {version.name: 100}, self._cluster))
        return objects

    def job(self) -> dict[str, Any]:
        """The RayJob of a training job."""
        model = next(iter(self.project.declaration.models.values()))
        uri = f"{self._objects}/jobs/{JOB}"
        return ray_job(JOB, "training.main", uri, RUN, Requirements.of(model), self._cluster)

    @property
    def _objects(self) -> str:
        return self._variables["ORRERY_OBJECTS"].rstrip("/")

    @cached_property
    def _variables(self) -> dict[str, str]:
        for thing in self.deployed:
            if (thing["kind"], thing["metadata"]["name"]) == ("ConfigMap", SETTINGS):
                return thing["data"]
        raise NotRendered(f"the overlay has no ConfigMap {SETTINGS}; keep that of the base")

    @cached_property
    def _cluster(self) -> ClusterSettings:
        """Settings of the overlay; those of this machine are another cluster's."""
        values: dict[str, Any] = {
            variable.removeprefix(PREFIX).lower(): value
            for variable, value in self._variables.items()
            if variable.startswith(PREFIX)
        }
        return _Told(**values)


class _Told(ClusterSettings):
    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


class Plain(yaml.SafeDumper):
    """YAML without anchors: objects share parts only by chance."""

    @override
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _deployment(service: str, declared: Service) -> Deployment:
    log, nowhere = declared.request_log, CHECKOUT
    plan = RequestLogPlan(folder=nowhere, sample=log.sample, megabytes=log.megabytes)
    return Deployment(
        service=service,
        version=VERSION,
        model_version=1,
        artefact_digest=DIGEST,
        bento=nowhere,
        bento_home=nowhere,
        replicas=declared.scale.min,
        most_replicas=declared.scale.max,
        canary=declared.rollout.canary,
        step_s=declared.rollout.step_s,
        request_log=plan if log.enabled else None,
    )
