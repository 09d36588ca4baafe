"""A value of the chart: what it says, what it may be, and where in the manifests it stands."""

from dataclasses import dataclass
from typing import Any

STRING: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "integer", "minimum": 0}
SWITCH: dict[str, Any] = {"type": "boolean"}
QUANTITY: dict[str, Any] = {
    "type": ["string", "integer"],
    "minimum": 0,
    "pattern": r"^[0-9.]+([kMGTPE]i?|m)?$",
}
STRINGS: dict[str, Any] = {"type": "object", "additionalProperties": STRING}
OBJECTS: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
HTTP: dict[str, Any] = {"type": "string", "pattern": "^(https?://.+)?$"}
AMOUNTS: dict[str, Any] = {"type": "object", "additionalProperties": QUANTITY}
RESOURCES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"requests": AMOUNTS, "limits": AMOUNTS},
}
SETTINGS = "orrery-settings"
_PODS = ("Deployment", "StatefulSet", "Job")
_TEMPLATE = "spec/template/spec"


@dataclass(frozen=True)
class Place:
    """Where a value stands: the kinds and the name (`*` for all) of objects, and a path in them."""

    kinds: tuple[str, ...]
    name: str
    path: str

    def is_of(self, kind: str, name: str) -> bool:
        """Whether the object of this kind and name is one of those."""
        return kind in self.kinds and self.name in ("*", name)


@dataclass(frozen=True)
class Value:
    """A value of the chart.

    It stands in the places, or is the variable of `orrery-settings`; its default is what the
    manifests have there, and otherwise `default`. With `key` it is an entry that the mapping (`""`:
    more items that the list) in the places gets where the value is not empty.
    """

    name: str
    comment: str
    schema: dict[str, Any]
    places: tuple[Place, ...] = ()
    variable: str | None = None
    key: str | None = None
    default: Any = ""

    @property
    def section(self) -> str:
        """The first part of its name."""
        return self.name.partition(".")[0]

    @property
    def is_structure(self) -> bool:
        """Whether it is a mapping or a list."""
        return self.schema["type"] in ("object", "array")


def at(kind: str, name: str, path: str) -> tuple[Place, ...]:
    """One place."""
    return (Place((kind,), name, path),)


def in_pods() -> tuple[Place, ...]:
    """The pods of everything that makes some."""
    return (
        Place(_PODS, "*", _TEMPLATE),
        *at("CronJob", "*", f"spec/jobTemplate/{_TEMPLATE}"),
    )


def of_container(kind: str, name: str) -> tuple[Place, ...]:
    """What the container that has the name of its object asks for."""
    return at(kind, name, f"{_TEMPLATE}/containers/{name}/resources")


def quota(resource: str) -> tuple[Place, ...]:
    """The quota of a resource."""
    path = f"spec/resourceGroups/*/flavors/*/resources/{resource}/nominalQuota"
    return at("ClusterQueue", "orrery", path)
