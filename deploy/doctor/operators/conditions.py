"""What controllers say of objects in their conditions."""

from collections.abc import Mapping
from typing import Any

from deploy.doctor.finding import Finding, fine, missing

SILENT = "its controller has said nothing of it"


def condition(status: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
    """The condition of this type; empty where nobody has written it."""
    conditions = {each["type"]: each for each in (status or {}).get("conditions") or ()}
    return conditions.get(kind, {})


def reason(condition: Mapping[str, Any]) -> str:
    """Why the condition does not hold, in its controller's words."""
    return str(condition.get("message") or condition.get("reason") or SILENT)


def by_condition(
    thing: Mapping[str, Any], name: str, kind: str, todo: str, *commands: str
) -> Finding:
    """Whether the object's controller says that the condition holds."""
    named = f"{thing['kind']} {thing['metadata']['name']}"
    said = condition(thing.get("status"), kind)
    if said.get("status") == "True":
        return fine(name, f"{named} is {kind}")
    return missing(name, f"{named} is not {kind}: {reason(said)}", todo, *commands)
