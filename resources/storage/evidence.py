"""The adapter to evidence: what simulations measured, kept by the hash of what they measured.

timeout, retry, cancel: the object store's.
duplicate: evidence of the same artefact and suite has one place, and equal content.
partial write: a document is written whole or not at all.
"""

from engine.protocol import Contract
from resources.storage.object_store import ObjectMissing, ObjectStore
from simulations.evidence import Evidence


class KeptEvidence(Contract):
    """Evidence and the address of the rows behind it."""

    evidence: Evidence
    results_uri: str


class EvidenceStore:
    """Keeps and finds evidence."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def keep(self, kept: KeptEvidence) -> str:
        """Address of the evidence. Raises OSError."""
        e = kept.evidence
        key = _key(e.artefact_digest, e.project, e.simulation, e.suite_digest)
        return self._objects.put_text(key, kept.model_dump_json(indent=2))

    def find(
        self, artefact_digest: str, project: str, simulation: str, suite_digest: str
    ) -> Evidence | None:
        """What the suite measured about the artefact, or None when it never ran."""
        key = _key(artefact_digest, project, simulation, suite_digest)
        try:
            return KeptEvidence.model_validate_json(self._objects.get_text(key)).evidence
        except ObjectMissing:
            return None


def _key(artefact_digest: str, project: str, simulation: str, suite_digest: str) -> str:
    return f"evidence/{artefact_digest}/{project}/{simulation}/{suite_digest[:32]}.json"
