"""What is taken away of a service: versions that are not kept, or everything."""

import contextlib
import time
from typing import Any

from resources.kubernetes_api.client import Cluster, NotThere
from resources.services.cluster.manifests import KINDS_OF_A_SERVICE
from resources.services.cluster.rollout_notes import NoteBook
from resources.services.cluster.version import SERVICE_LABEL, VERSION_LABEL, object_name
from serving.rollout import kept

DRAINED_AFTER_POLLS = 5


class Removal:
    """Deletes objects of services."""

    def __init__(self, cluster: Cluster, notes: NoteBook) -> None:
        self._cluster, self._notes, self._settings = cluster, notes, cluster.settings

    def clear(self, service: str) -> None:
        """Delete the objects of versions that are not kept.

        A driver notes a version before it creates its objects; so what is found first and is not
        in the notes after that belongs to nobody.
        """
        labels = f"{SERVICE_LABEL}={object_name(service)},{VERSION_LABEL}"
        objects = [
            (kind, each) for kind in KINDS_OF_A_SERVICE for each in self._labelled(kind, labels)
        ]
        if {_version_of(each) for _, each in objects} - self._wanted(service):
            # A Gateway hears of the new shares a moment later, and would find nobody there.
            time.sleep(DRAINED_AFTER_POLLS * self._settings.poll_s)
        wanted = self._wanted(service)
        for kind, each in objects:
            if _version_of(each) not in wanted:
                self._cluster.delete(kind, each["metadata"]["name"])

    def _wanted(self, service: str) -> set[str]:
        """Versions of the service that are kept."""
        notes = self._notes.read(service)
        return {v.version for v in kept(notes.record.rollout)} if notes else set()

    def remove(self, service: str) -> None:
        """Delete all objects of the service."""
        labels = f"{SERVICE_LABEL}={object_name(service)}"
        for kind in KINDS_OF_A_SERVICE:
            for each in self._labelled(kind, labels):
                self._cluster.delete(kind, each["metadata"]["name"])

    def _labelled(self, kind: str, labels: str) -> list[dict[str, Any]]:
        """Objects of the kind; of every kind, whatever the settings are now, where the cluster
        knows it."""
        with contextlib.suppress(NotThere):
            return list(self._cluster.find(kind, labels))
        return []


def _version_of(thing: dict[str, Any]) -> str:
    return thing["metadata"]["labels"][VERSION_LABEL]
