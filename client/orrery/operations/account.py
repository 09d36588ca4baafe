"""Operations of the group account.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from orrery.answers.accounts import Me
from orrery.connection import Connection, Route


class AccountOperations:
    """Operations of the group account."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def me(self) -> Me:
        """Show who you are here and what you may do.

        Raises Refused, or Unreachable.
        """
        return self._connection.call(_ME, Me, {})


_ME = Route(method="GET", path="/me", only_reads=True)
