"""Versions of services that must not lose what they answer with."""

import json
from pathlib import Path
from typing import NamedTuple

from serving.contract import Deployment


class InUse(NamedTuple):
    """A version of a service that answers, is to answer, or that traffic may return to."""

    service: str
    """`project.service`; empty where it is not known."""
    version: str
    """Of its Bento."""
    model_version: int
    artefact_digest: str
    """Empty where it is not known."""


def in_folder(services: Path) -> list[InUse]:
    """What is deployed on this machine, and what the reconciler has noted of rollouts.

    Raises OSError, or ValueError for what cannot be read.
    """
    deployments = []
    for path in services.glob("*/deployment.json"):
        deployments.append(Deployment.model_validate_json(path.read_bytes()))
    for path in services.glob("*/rollout.json"):
        noted = json.loads(path.read_bytes())
        parts = [noted.get("deployment"), *noted.get("deployments", [])]
        deployments += [Deployment.model_validate(part) for part in parts if part]
    return [InUse(d.service, d.version, d.model_version, d.artefact_digest) for d in deployments]
