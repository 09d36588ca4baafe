"""The objects of every deployment, kept so that a version can go back to the form it had."""

import json
from typing import Any

from resources.storage.object_store import ObjectMissing, ObjectStore


class Forms:
    """Objects of deployments by service and mark."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def keep(self, service: str, mark: str, things: list[dict[str, Any]]) -> None:
        """Keep the objects of the deployment. Raises OSError."""
        self._objects.put_text(_key(service, mark), json.dumps(things))

    def of(self, service: str, mark: str) -> list[dict[str, Any]]:
        """The objects of the deployment; none where they were not kept. Raises OSError."""
        try:
            return json.loads(self._objects.get_text(_key(service, mark)))
        except ObjectMissing:
            return []


def _key(service: str, mark: str) -> str:
    return f"deployments/{service}/{mark}.json"
