"""What a removal that was interrupted has still to remove, kept in the object store.

A model version that is gone from the registry does not tell any more which files were its own.
"""

from collections.abc import Iterable

from engine.protocol import Contract
from resources.storage.object_store import ObjectMissing, ObjectStore
from resources.tracking.registry import RegisteredVersion

KEY = "collection/pending.json"


class Journal(Contract):
    """Files of model versions that were taken out of the registry, or are about to be."""

    artefacts: dict[str, str] = {}
    """Project by the digest of an artefact."""
    copies: dict[str, str] = {}
    """Project by the id of MLflow's own copy."""

    @classmethod
    def read(cls, objects: ObjectStore) -> "Journal":
        """What is still to remove. Raises OSError."""
        try:
            return cls.model_validate_json(objects.get_text(KEY))
        except ObjectMissing:
            return cls()

    def with_versions(self, going: Iterable[RegisteredVersion]) -> "Journal":
        """The same with the files of versions that are about to go."""
        artefacts, copies = dict(self.artefacts), dict(self.copies)
        for version in going:
            project = version.name.partition(".")[0]
            artefacts[version.artefact_digest] = project
            if version.logged_model:
                copies[version.logged_model] = project
        return Journal(artefacts=artefacts, copies=copies)

    def only(self, artefacts: set[str], copies: set[str]) -> "Journal":
        """The same with these entries alone."""
        return Journal(
            artefacts={k: v for k, v in self.artefacts.items() if k in artefacts},
            copies={k: v for k, v in self.copies.items() if k in copies},
        )

    def keep(self, objects: ObjectStore) -> None:
        """Write it, or take it away where nothing is left. Raises OSError."""
        if self == Journal():
            objects.delete(KEY)
        else:
            objects.put_text(KEY, self.model_dump_json())
