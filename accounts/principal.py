"""Who asks: a person, a service account or an agent, in one organization."""

from dataclasses import dataclass

from accounts.roles import Permission, Role, allows


@dataclass(frozen=True)
class Principal:
    """An authenticated caller and what it may do."""

    user_id: str
    name: str
    organization: str
    role: Role
    projects: frozenset[str] | None = None
    """Projects it is confined to; None for all of its organization."""
    key_id: str | None = None
    agents_may_change: bool = True
    """Whether tools called with this key may change something; REST is not concerned."""
    sight: Role | None = None
    """Role over the whole instance; None for a user of some organizations only."""

    def may(self, permission: Permission) -> bool:
        """Whether its role has the permission."""
        return allows(self.role, permission)

    def may_see(self, project: str) -> bool:
        """Whether its key reaches the project."""
        return self.projects is None or project in self.projects

    def __str__(self) -> str:
        by_key = f" by {self.key_id}" if self.key_id else ""
        return f"{self.user_id} ({self.name}){by_key}"
