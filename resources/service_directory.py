"""What a cluster says of its services: how far they are, and where they answer.

What is noted of a service lies in the annotations of the Service that is its address.
"""

import random
from typing import Any

from resources.cluster import Cluster
from resources.service_version import SERVICE_LABEL, VERSION_LABEL, object_name, version_name
from resources.version_pods import VersionPods
from serving.contract import ServiceStatus

NOTE = "orrery/"


class ServiceDirectory:
    """Services of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._settings = cluster, cluster.settings

    def status(self, service: str) -> ServiceStatus | None:
        """What the service has reached, or None when the cluster knows none of that name."""
        found = self._cluster.get("Service", object_name(service))
        return self.status_of(service, found) if found else None

    def statuses(self) -> list[ServiceStatus]:
        """Status of every service."""
        found = self._cluster.find("Service", f"{SERVICE_LABEL},!{VERSION_LABEL}")
        named = ((each["metadata"]["annotations"][f"{NOTE}service"], each) for each in found)
        return [self.status_of(name, each) for name, each in sorted(named, key=lambda n: n[0])]

    def endpoint(self, service: str) -> str | None:
        """The service within the cluster, a version of it by its share of the traffic; from outside
        of the cluster the service at the gateway. None when nothing serves."""
        notes = notes_of(self._cluster.get("Service", object_name(service)))
        if not notes.get("serving"):
            return None
        if self._settings.kubeconfig is not None:
            return self._url(service)
        # Not by way of the gateway: many a cluster lets no pod reach its own front.
        is_canary = notes["state"] == "canary" and random.uniform(0, 100) < int(notes["weight"])
        name = version_name(service, notes["target"]) if is_canary else object_name(service)
        return self._within(name)

    def status_of(self, service: str, found: dict[str, Any]) -> ServiceStatus:
        """What is noted of the service at the Service that is its address."""
        labels = {SERVICE_LABEL: object_name(service)}
        notes = notes_of(found)
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
        return self._within(object_name(service))

    def _within(self, name: str) -> str:
        return f"http://{name}.{self._settings.namespace}.svc/predict"


def notes_of(entered: dict[str, Any] | None) -> dict[str, str]:
    """What is noted at the service's address; nothing where there is none."""
    noted = entered["metadata"].get("annotations") or {} if entered else {}
    return {k.removeprefix(NOTE): v for k, v in noted.items() if k.startswith(NOTE)}
