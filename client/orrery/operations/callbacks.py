"""Operations of the group callbacks.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from typing import Literal

from orrery.answers.callbacks import Delivery
from orrery.connection import Connection, Listing, Route


class CallbacksOperations:
    """Operations of the group callbacks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        job_id: str | None = None,
        state: Literal["owed", "delivered", "given_up"] | None = None,
    ) -> Listing[Delivery]:
        """List callbacks and how they went, newest first.

        cursor: `next_cursor` of the page before.
        limit: Most items of a page.

        Raises Refused, or Unreachable.
        """
        return self._connection.listing(
            _LIST, Delivery, {"cursor": cursor, "limit": limit, "job_id": job_id, "state": state}
        )

    def replay(self, id: str, *, idempotency_key: str | None = None) -> Delivery:
        """Send a callback once more, under the same id.

        idempotency_key: The same key again gets the same answer, and nothing is done twice.
            By default a new one.

        Raises NotFound, another Refused, or Unreachable.
        """
        return self._connection.call(
            _REPLAY, Delivery, {"id": id, "idempotency_key": idempotency_key}
        )


_LIST = Route(method="GET", path="/callbacks", only_reads=True)
_REPLAY = Route(
    method="POST", path="/callbacks/{id}/replay", headers={"idempotency_key": "Idempotency-Key"}
)
