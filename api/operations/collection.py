"""Operations on collections: plans of what is not kept any more, and its removal."""

from datetime import datetime

from accounts.roles import Permission
from api.operations.operation import Id, Input, Operation, Output, Page, Paged, ShortName
from resources.collection.item import Kind, Outcome, State


class Total(Output):
    """Everything of one kind with one outcome."""

    outcome: Outcome
    kind: Kind
    things: int
    bytes: int


class Collection(Output):
    """A plan of what is not kept any more, and how far its removal is."""

    id: str
    state: State
    project: str | None
    """The one whose things it looks at; null for all."""
    asked_by: str
    message: str
    """What it waits for, or why it failed."""
    created_at: datetime
    planned_at: datetime | None
    began_at: datetime | None
    """When the removal began."""
    ended_at: datetime | None
    totals: list[Total]
    """What is chosen and still to be removed, what was removed, what stays, and what could not be
    removed; of your organization."""


class Entry(Output):
    """One thing that was chosen, or several that stay for one reason."""

    project: str | None
    """Null for what belongs to none."""
    kind: Kind
    name: str | None
    """Null for several."""
    outcome: Outcome
    """`chosen` is still to be removed."""
    reason: str
    """Why it goes, why it stays, or why it could not be removed."""
    things: int
    bytes: int
    oldest: datetime | None
    """When the oldest of them was made."""
    newest: datetime | None


class PlanCollection(Input):
    """What to look at."""

    project: ShortName | None = None
    """One project alone; by default all of yours, and what belongs to none."""


class CollectionId(Input):
    """One collection."""

    id: Id


class ListCollections(Paged):
    """A page of collections."""


class ListEntries(Paged):
    """Entries that match, in the order in which they are removed; what stays is at the end."""

    id: Id
    outcome: Outcome | None = None
    kind: Kind | None = None
    """Such as `dagster_run`, `checkpoint` or `dataset version`."""
    project: ShortName | None = None


PLAN = Operation(
    name="collections.plan",
    method="POST",
    path="/collections",
    summary="Plan what the declared retention does not keep any more; removes nothing, and answers "
    "at once with a handle.",
    input=PlanCollection,
    output=Collection,
    permission=Permission("collection", "create"),
    status=202,
    cost="light",
    problems=("not-found", "conflict"),
)
LIST = Operation(
    name="collections.list",
    method="GET",
    path="/collections",
    summary="List what was planned and removed, newest first.",
    input=ListCollections,
    output=Page[Collection],
    permission=Permission("collection", "read"),
)
GET = Operation(
    name="collections.get",
    method="GET",
    path="/collections/{id}",
    summary="Show how far a collection is, with the number and bytes of what goes and stays.",
    input=CollectionId,
    output=Collection,
    permission=Permission("collection", "read"),
    problems=("not-found",),
)
ENTRIES = Operation(
    name="collections.entries",
    method="GET",
    path="/collections/{id}/entries",
    summary="List each thing that a collection has chosen, and what stays and why.",
    input=ListEntries,
    output=Page[Entry],
    permission=Permission("collection", "read"),
    problems=("not-found",),
)
RUN = Operation(
    name="collections.run",
    method="POST",
    path="/collections/{id}/run",
    summary="Remove what a collection has chosen, and is still not needed; it cannot be undone.",
    input=CollectionId,
    output=Collection,
    permission=Permission("collection", "execute"),
    status=202,
    cost="light",
    problems=("not-found", "conflict"),
)
OPERATIONS = (PLAN, LIST, GET, ENTRIES, RUN)
