"""A version of a service on a cluster: what it is made of, and its objects' names and labels."""

import hashlib
import re
from dataclasses import dataclass

from resources.compute.requirements import Requirements
from resources.kubernetes_api.pod_template import STATE, labels
from serving.contract import Deployment

SERVICE_LABEL = "orrery/service"
VERSION_LABEL = "orrery/version"
BENTO = f"{STATE}/bento"
BUILT_BENTO = "/opt/bento"
"""Where an image holds its Bento: outside of what volumes of the pod lie over."""
# Kubernetes takes 63 characters for the name of a Service, and a version follows this one.
LONGEST_NAME = 40


@dataclass(frozen=True)
class Version:
    """One version of a service: what is deployed, and where its bytes are."""

    deployment: Deployment
    requirements: Requirements
    mark: str
    """What tells apart deployments of the version."""
    bento_uri: str
    bento_digest: str
    requests_uri: str
    image: str
    """Image that answers."""
    is_built_in: bool
    """Whether the image holds the Bento; else it is fetched at the start."""

    @property
    def bento_folder(self) -> str:
        """Where the Bento lies in the pod."""
        return BUILT_BENTO if self.is_built_in else BENTO

    @property
    def name(self) -> str:
        """Name of the version's objects."""
        return version_name(self.deployment.service, self.deployment.version)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the version's objects and pods."""
        return {**labels("service"), **self.selector}

    @property
    def selector(self) -> dict[str, str]:
        """Labels that only this version's pods have."""
        return {
            SERVICE_LABEL: object_name(self.deployment.service),
            VERSION_LABEL: self.deployment.version,
        }


def object_name(service: str) -> str:
    """Name of a service's objects: readable, and different for different services."""
    readable = re.sub(r"[^a-z0-9]+", "-", service.lower()).strip("-")[: LONGEST_NAME - 7]
    return f"{readable.strip('-')}-{hashlib.sha256(service.encode()).hexdigest()[:6]}"


def version_name(service: str, version: str) -> str:
    """Name of the objects of a service's version."""
    return f"{object_name(service)}-{version}"
