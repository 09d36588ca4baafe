"""What a cluster says of its services: how far they are, what answers, and where."""

from typing import Any

from resources.kubernetes_api.client import Cluster
from resources.services.cluster.manifests import ARTEFACT_DIGEST, MODEL_VERSION
from resources.services.cluster.pods import VersionPods
from resources.services.cluster.rollout_notes import NOTE, NoteBook, annotations, notes_of, planned
from resources.services.cluster.version import (
    SERVICE_LABEL,
    VERSION_LABEL,
    object_name,
    version_name,
)
from resources.services.in_use import InUse
from serving.contract import Answering, ServiceStatus


class ServiceDirectory:
    """Services of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._settings = cluster, cluster.settings
        self._notes = NoteBook(cluster)

    def status(self, service: str) -> ServiceStatus | None:
        """What the service has reached, or None when the cluster knows none of that name."""
        service_object = self._cluster.get("Service", object_name(service))
        return self._status_of(service, service_object) if service_object else None

    def statuses(self) -> list[ServiceStatus]:
        """Status of every service."""
        services = self._cluster.find("Service", f"{SERVICE_LABEL},!{VERSION_LABEL}")
        named = ((each["metadata"]["annotations"][f"{NOTE}service"], each) for each in services)
        return [self._status_of(name, each) for name, each in sorted(named, key=lambda n: n[0])]

    def in_use(self) -> list[InUse]:
        """Versions that have pods or may get them, or that an address names."""
        found = []
        for each in self._cluster.find("Deployment", VERSION_LABEL):
            noted = each["metadata"].get("annotations") or {}
            version = each["metadata"]["labels"][VERSION_LABEL]
            digest = noted.get(ARTEFACT_DIGEST, "")
            found.append(InUse("", version, int(noted.get(MODEL_VERSION, 0)), digest))
        for status in self.statuses():
            for version in filter(None, (status.target, status.serving)):
                found.append(InUse(status.service, version, _model_version(version), ""))
        return found

    def endpoints(self, service: str) -> dict[str, int]:
        """Percent of the requests that processes of the platform send to each address.

        Within the cluster each version that has a share has an address; from outside of it there is
        the service at the Gateway. Nothing where no version was accepted.
        """
        notes = self._notes.read(service)
        if notes is None or notes.record.rollout.serving is None:
            return {}
        if self._settings.kubeconfig is not None:
            return {self._url(service): 100}
        # Not by way of the Gateway: many a cluster lets no pod reach its own front.
        return {
            self._within(
                object_name(service)
                if version == notes.selected
                else version_name(service, version)
            ): percent
            for version, percent in planned(notes.record.rollout).items()
        }

    def _status_of(self, service: str, address: dict[str, Any]) -> ServiceStatus:
        """What is noted at the service's address, and what answers there."""
        notes, labels = notes_of(address), {SERVICE_LABEL: object_name(service)}
        noted = annotations(service, notes.record)
        return ServiceStatus.model_validate(
            {
                "service": service,
                "state": noted[f"{NOTE}state"],
                "target": noted[f"{NOTE}target"],
                "request": notes.record.request,
                "serving": noted[f"{NOTE}serving"] or None,
                "weight": int(noted[f"{NOTE}weight"]),
                "url": self._url(service),
                "message": noted[f"{NOTE}message"],
                "replicas": VersionPods(self._cluster, labels).replicas(),
                "answering": self._answering(service, notes.selected),
            }
        )

    def _answering(self, service: str, selected: str) -> list[Answering]:
        """Versions that have a share at the Gateway (without one: at the address) and ready pods.

        Nobody counts here what they answer: their pods do, at `/metrics`.
        """
        shares = self._routed(service) if self._settings.gateway else {selected: 100}
        answering = []
        labels = f"{SERVICE_LABEL}={object_name(service)}"
        for each in self._cluster.find("Deployment", labels):
            version = each["metadata"]["labels"][VERSION_LABEL]
            noted = each["metadata"].get("annotations") or {}
            if shares.get(version) and each.get("status", {}).get("readyReplicas"):
                answering.append(
                    Answering(
                        version=version,
                        model_version=int(noted.get(MODEL_VERSION, 0)),
                        artefact_digest=noted.get(ARTEFACT_DIGEST, ""),
                        percent=shares[version],
                    )
                )
        return answering

    def _routed(self, service: str) -> dict[str, int]:
        """Percent of the traffic that the Gateway gives to each version."""
        http_route = self._cluster.get("HTTPRoute", object_name(service))
        rules = http_route["spec"]["rules"] if http_route else []
        prefix = version_name(service, "")
        return {
            backend["name"].removeprefix(prefix): backend["weight"]
            for rule in rules
            for backend in rule["backendRefs"]
        }

    def _url(self, service: str) -> str:
        """Address of predictions: at the Gateway, or within the cluster."""
        if self._settings.services_url:
            return f"{self._settings.services_url.rstrip('/')}/{service}/predict"
        return self._within(object_name(service))

    def _within(self, name: str) -> str:
        return f"http://{name}.{self._settings.namespace}.svc/predict"


def _model_version(version: str) -> int:
    """Number of the model version that a Bento's version `vNUMBER-HASH` names; else 0."""
    number = version.removeprefix("v").partition("-")[0]
    return int(number) if number.isdigit() else 0
