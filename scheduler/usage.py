"""Hours that the jobs of a key have used, and may still need.

What ended jobs used is one row a key, added to when a job ends: it costs the same however many
jobs a key has had.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, case, func, select
from sqlalchemy.dialects import postgresql, sqlite

from scheduler.states import GOING
from scheduler.tables import jobs, used


class Usage(NamedTuple):
    """What jobs of a key have used, and what those that have not ended may still need."""

    gpu_h: float
    process_h: float
    reserved_gpu_h: float
    reserved_process_h: float


NOTHING = Usage(0.0, 0.0, 0.0, 0.0)


def usage(connection: Connection, key_id: str) -> Usage:
    """Hours of the key's jobs: worked so far, and reserved up to their upper estimates."""
    return usages(connection, [key_id]).get(key_id, NOTHING)


def usages(connection: Connection, key_ids: Iterable[str]) -> dict[str, Usage]:
    """Hours of the jobs of each key that has any."""
    keys, c = list(key_ids), jobs.c
    ran, expected = func.coalesce(c.ran_s, 0.0), func.coalesce(c.expected_s, 0.0)
    # CASE, because the larger of two values is MAX in SQLite and GREATEST in PostgreSQL.
    left = case((expected > ran, expected - ran), else_=0.0)
    sums = (func.sum(c.gpus * ran), func.sum(ran), func.sum(c.gpus * left), func.sum(left))
    going = c.key_id.in_(keys) & c.status.in_(GOING)
    seconds: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * len(sums))
    ended = select(used.c.key_id, used.c.gpu_s, used.c.process_s).where(used.c.key_id.in_(keys))
    for query in (ended, select(c.key_id, *sums).where(going).group_by(c.key_id)):
        for key, *row in connection.execute(query):
            for place, value in enumerate(row):
                seconds[key][place] += value
    return {key: Usage(*(value / 3600 for value in row)) for key, row in seconds.items()}


def add(connection: Connection, key_id: str, gpus: int, ran_s: float) -> None:
    """Count a job that has just ended, in the transaction that ends it."""
    # SQLAlchemy's generic insert has no ON CONFLICT.
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {"key_id": key_id, "gpu_s": gpus * ran_s, "process_s": ran_s}
    inserting = dialect.insert(used).values(values)
    more = {name: used.c[name] + values[name] for name in ("gpu_s", "process_s")}
    connection.execute(inserting.on_conflict_do_update(index_elements=["key_id"], set_=more))
