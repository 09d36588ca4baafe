import pytest

from accounts import organizations, users
from accounts.secret import InstanceSecret


@pytest.fixture
def secret() -> InstanceSecret:
    return InstanceSecret(b"s" * 32)


@pytest.fixture
def owner(control):
    """An organization `acme` and its admin."""
    with control.write() as connection:
        organizations.create(connection, "acme", "Acme")
        created = users.create(connection, "person", "Ada", "ada@example.com")
        users.join(connection, created.id, "acme", "admin")
    return created
