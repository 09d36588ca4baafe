"""What a cluster's refusal says of what was looked for."""

from deploy.doctor.finding import Finding, missing, skipped
from resources.kubernetes_api.client import FORBIDDEN, ClusterRefused


def refused(name: str, right: str, error: ClusterRefused, *commands: str) -> Finding:
    """Not known, where only the right to look lacks; the commands look in its place."""
    if error.status == FORBIDDEN:
        said = f"not known: this account lacks the right `{right}`"
        return skipped(name, said, "look as somebody who has it", *commands)
    return missing(name, str(error), "see that the server's credentials and the settings fit")
