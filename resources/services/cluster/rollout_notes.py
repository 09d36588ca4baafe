"""What is noted of a service on a cluster: its rollout, in the annotations of its address.

The address is a Service. Notes are written only where nobody else wrote meanwhile, so of two
drivers one sees what the other did before it acts.
"""

from typing import Any

from engine.protocol import Contract
from resources.kubernetes_api.client import AlreadyThere, Cluster, NotThere
from resources.services.cluster.version import VERSION_LABEL, object_name
from serving.rollout import Rollout, Variant, kept, message, phase, shares

NOTE = "orrery/"


class Record(Contract):
    """The rollout, and the request that its target is from."""

    rollout: Rollout = Rollout()
    request: str = ""
    """Identity of the request to deploy."""
    asked_at: float = 0.0
    """When it was requested, in seconds since the epoch."""
    mark: str = ""
    """What tells apart deployments of the target."""
    served: str = ""
    """The mark of the deployment that served before; empty where none did, or it is not known."""

    @property
    def is_new_form_of_what_serves(self) -> bool:
        """Whether the target is the version that serves already, deployed in another way."""
        rollout = self.rollout
        return rollout.target == rollout.serving and self.served not in ("", self.mark)


class Notes(Contract):
    """What is noted at an address."""

    record: Record
    selected: str
    """Version that the address leads to."""
    revision: str
    """Of the address, when it was read."""


def planned(rollout: Rollout) -> dict[str, int]:
    """Percent of the traffic by version, if every version has a replica that answers."""
    ready = rollout.model_copy(update={"ready": frozenset(kept(rollout))})
    return {variant.version: percent for variant, percent in shares(ready).items()}


def annotations(service: str, record: Record) -> dict[str, str]:
    """The record as annotations: whole for programs, and in words for people."""
    rollout = record.rollout
    reached = {rollout.target} - {None} if rollout.outcome == "reached" else set()
    target = rollout.target.version if rollout.target else ""
    noted = {
        "service": service,
        "state": phase(rollout.model_copy(update={"whole": frozenset(reached)})),
        "target": target,
        "serving": rollout.serving.version if rollout.serving else "",
        "weight": str(planned(rollout).get(target, 0)),
        "message": message(rollout),
        "rollout": record.model_dump_json(),
    }
    return {f"{NOTE}{name}": value for name, value in noted.items()}


def notes_of(address: dict[str, Any]) -> Notes:
    """What is noted at the address."""
    noted = address["metadata"].get("annotations") or {}
    note = noted.get(f"{NOTE}rollout")
    record = Record.model_validate_json(note) if note else _from_words(noted)
    selected = address["spec"]["selector"].get(VERSION_LABEL, "")
    return Notes(record=record, selected=selected, revision=address["metadata"]["resourceVersion"])


def _from_words(noted: dict[str, str]) -> Record:
    """The record of an address that has no whole one."""
    serving, target = noted.get(f"{NOTE}serving"), noted.get(f"{NOTE}target")
    return Record(
        rollout=Rollout(
            target=Variant(target) if target else None,
            serving=Variant(serving) if serving else None,
            outcome="reached" if serving and serving == target else "refused",
        )
    )


class NoteBook:
    """Notes of the services of one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self, service: str) -> Notes | None:
        """What is noted of the service, or None where it has no address. Raises OSError."""
        service_object = self._cluster.get("Service", object_name(service))
        return notes_of(service_object) if service_object else None

    def write(self, service: str, record: Record, before: Notes) -> bool:
        """Whether the record is noted now; not where somebody else wrote. Raises OSError."""
        change = {"annotations": annotations(service, record), "resourceVersion": before.revision}
        return self._merged(service, {"metadata": change})

    def select(self, service: str, version: str, before: Notes) -> bool:
        """Whether the address leads to the version now. Raises OSError."""
        change = {
            "metadata": {"resourceVersion": before.revision},
            "spec": {"selector": {VERSION_LABEL: version}},
        }
        return self._merged(service, change)

    def _merged(self, service: str, change: dict[str, Any]) -> bool:
        try:
            self._cluster.merge("Service", object_name(service), change)
        except (AlreadyThere, NotThere):
            return False
        return True
