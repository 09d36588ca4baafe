"""WHO MAY: organizations, users, keys, sessions, roles, and the audit of what was decided."""
