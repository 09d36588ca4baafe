"""Entries: each thing that a collection has chosen, and what it keeps, counted by its reason."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from resources.collection.item import Item, Kind, Outcome, Sorted
from resources.collection.records.tables import entries
from resources.collection.rules import rule_of

BATCH = 500
WAS_GONE = "was gone already"


class Entry(NamedTuple):
    """One thing that is chosen, or several that stay for one reason."""

    number: int
    organization_id: str
    project: str
    """Empty where it belongs to none."""
    kind: Kind
    name: str
    """Empty for several that stay."""
    outcome: Outcome
    reason: str
    """Why it goes, why it stays, or why it could not be removed."""
    things: int
    bytes: int
    oldest: float | None
    """When the oldest of them was made; None where that is not known."""
    newest: float | None


class Total(NamedTuple):
    """Everything of one kind with one outcome."""

    outcome: Outcome
    kind: Kind
    things: int
    bytes: int


class Settled(NamedTuple):
    """What became of a chosen thing."""

    number: int
    outcome: Outcome
    reason: str


def entries_of(plan: Sorted, organization_of: Callable[[str], str]) -> Iterator[Entry]:
    """Entries of a plan; `organization_of` gives the owner of a project."""
    for number, item in enumerate(plan.chosen, 1):
        yield _entry(number, organization_of, [item], item.name, "chosen", rule_of(item))
    alike: dict[tuple[str, Kind, str], list[Item]] = defaultdict(list)
    for item, reason in plan.kept:
        alike[item.project, item.kind, reason].append(item)
    behind = len(plan.chosen) + 1
    for number, ((_, _, reason), items) in enumerate(sorted(alike.items()), behind):
        yield _entry(number, organization_of, items, "", "kept", reason)


def _entry(
    number: int,
    organization_of: Callable[[str], str],
    items: Sequence[Item],
    name: str,
    outcome: Outcome,
    reason: str,
) -> Entry:
    times = [item.at for item in items if item.at]
    return Entry(
        number,
        organization_of(items[0].project),
        items[0].project,
        items[0].kind,
        name,
        outcome,
        reason,
        len(items),
        sum(item.bytes for item in items),
        min(times, default=None),
        max(times, default=None),
    )


def put(connection: Connection, id: str, planned: Sequence[Entry]) -> None:
    """Let these be the entries of the collection."""
    connection.execute(delete(entries).where(entries.c.collection_id == id))
    for first in range(0, len(planned), BATCH):
        rows = [{"collection_id": id, **e._asdict()} for e in planned[first : first + BATCH]]
        connection.execute(insert(entries), rows)


def chosen(connection: Connection, id: str) -> dict[tuple[Kind, str], int]:
    """Number by kind and name of everything that is still to be removed."""
    c = entries.c
    mine = and_(c.collection_id == id, c.outcome == "chosen")
    rows = connection.execute(select(c.kind, c.name, c.number).where(mine))
    return {(kind, name): number for kind, name, number in rows}


def settle(connection: Connection, id: str, settled: Sequence[Settled]) -> None:
    """Note what became of chosen things."""
    c = entries.c
    for outcome, reason in {(each.outcome, each.reason) for each in settled}:
        numbers = [e.number for e in settled if (e.outcome, e.reason) == (outcome, reason)]
        values = {"outcome": outcome, **({"reason": reason} if reason else {})}
        for first in range(0, len(numbers), BATCH):
            mine = and_(c.collection_id == id, c.number.in_(numbers[first : first + BATCH]))
            connection.execute(update(entries).where(mine).values(values))


def settle_rest(connection: Connection, id: str) -> None:
    """Note of what is chosen, and was not found any more, that it is gone."""
    mine = and_(entries.c.collection_id == id, entries.c.outcome == "chosen")
    values = {"outcome": "removed", "reason": WAS_GONE}
    connection.execute(update(entries).where(mine).values(values))


def totals(connection: Connection, ids: Sequence[str], organization: str) -> dict[str, list[Total]]:
    """What the collections have of the organization, by their ids."""
    c = entries.c
    sums = (func.sum(c.things), func.sum(c.bytes))
    query = (
        select(c.collection_id, c.outcome, c.kind, *sums)
        .where(c.collection_id.in_(ids), c.organization_id == organization)
        .group_by(c.collection_id, c.outcome, c.kind)
        .order_by(c.collection_id, c.outcome, c.kind)
    )
    found: dict[str, list[Total]] = {id: [] for id in ids}
    for id, outcome, kind, things, size in connection.execute(query):
        found[id].append(Total(outcome, kind, int(things), int(size)))
    return found


def listed(
    connection: Connection,
    id: str,
    organization: str,
    *,
    project: str | None,
    outcome: Outcome | None,
    kind: Kind | None,
    after: int | None,
    limit: int,
) -> list[Entry]:
    """Entries of the organization that match, in order."""
    c = entries.c
    wanted = [c.collection_id == id, c.organization_id == organization, c.number > (after or 0)]
    given = ((c.project, project), (c.outcome, outcome), (c.kind, kind))
    wanted += [column == value for column, value in given if value is not None]
    columns = [c[name] for name in Entry._fields]
    query = select(*columns).where(and_(*wanted)).order_by(c.number).limit(limit)
    return [Entry(*row) for row in connection.execute(query)]


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Remove the entries of the collections."""
    connection.execute(delete(entries).where(entries.c.collection_id.in_(ids)))
