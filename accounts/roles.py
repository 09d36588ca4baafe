"""Who may do what: one table of roles, resources and actions. What it does not grant is denied."""

from typing import Literal, NamedTuple, get_args

Role = Literal["admin", "manager", "user", "viewer"]
UserKind = Literal["person", "service"]
"""A service account has keys and never signs in."""
Resource = Literal[
    "project",
    "experiment",
    "model",
    "service",
    "simulation",
    "key",
    "user",
    "organization",
    "audit",
    "collection",
]
Action = Literal["create", "read", "update", "delete", "execute"]

ROLES: tuple[Role, ...] = get_args(Role)
"""From the mightiest down."""
RESOURCES: tuple[Resource, ...] = get_args(Resource)
ACTIONS: tuple[Action, ...] = get_args(Action)
ALL = frozenset(ACTIONS)


class Permission(NamedTuple):
    """What an operation needs."""

    resource: Resource
    action: Action

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


def _some(*actions: Action) -> frozenset[Action]:
    return frozenset(actions)


GRANTS: dict[Role, dict[Resource, frozenset[Action]]] = {
    "admin": dict.fromkeys(RESOURCES, ALL),
    "manager": {
        "project": ALL,
        "experiment": ALL,
        "model": ALL,
        "service": ALL,
        "simulation": ALL,
        "key": _some("create", "read", "update", "delete"),
        "user": _some("create", "read", "update"),
        "organization": _some("read"),
        "audit": _some("read"),
        "collection": _some("read"),
    },
    "user": {
        "project": _some("read"),
        "experiment": _some("create", "read", "update"),
        "model": _some("create", "read", "update", "execute"),
        "service": _some("read", "execute"),
        "simulation": _some("create", "read", "update", "execute"),
        "key": _some("create", "read", "delete"),
        "organization": _some("read"),
    },
    "viewer": {
        "project": _some("read"),
        "experiment": _some("read"),
        "model": _some("read"),
        "service": _some("read"),
        "simulation": _some("read"),
        "organization": _some("read"),
    },
}
"""`execute` on a model trains it, on a service asks it for predictions, on a simulation runs it,
on a project starts any of its jobs."""


def allows(role: Role, permission: Permission) -> bool:
    """Whether the role has the permission."""
    return permission.action in GRANTS[role].get(permission.resource, frozenset())


def weaker(one: Role, other: Role) -> Role:
    """The role of the two that may do less."""
    return ROLES[max(ROLES.index(one), ROLES.index(other))]
