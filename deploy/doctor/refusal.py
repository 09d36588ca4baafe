"""What a cluster's refusal says of what was looked for."""

from deploy.doctor.finding import Finding, missing, skipped
from resources.kubernetes_api.client import ClusterRefused

FORBIDDEN = 403


def refused(name: str, right: str, error: ClusterRefused) -> Finding:
    """Not known, where only the right to look lacks."""
    if error.status == FORBIDDEN:
        todo = f"grant `{right}` to this process, or look with a kubectl that may"
        return skipped(name, f"not known: the right `{right}` lacks", todo)
    return missing(name, str(error), "see that the server's credentials and the settings fit")
