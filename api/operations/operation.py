"""An operation: what it asks, answers and needs. Routes, tools and commands are made of it."""

from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from accounts.roles import Permission

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Cost = Literal["read", "light", "compute"]
"""`read` changes nothing, `light` changes a record, `compute` starts work that costs money."""
HEADERS = {
    "if_match": "If-Match",
    "idempotency_key": "Idempotency-Key",
    "last_event_id": "Last-Event-ID",
}
"""Fields that REST takes from a header."""
KEY_FIELD = "idempotency_key"

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]
ShortName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,47}$")]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,120}$")]
IfMatch = Annotated[str, StringConstraints(max_length=200)]
OnceKey = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[!-~]+$")]


class Input(BaseModel):
    """What an operation is asked: closed, so that a misspelt field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def require_sense(self) -> None:
        """Raises ValueError where fields that are right alone do not fit each other.

        No validator of pydantic: REST validates what comes by path, headers and body apart.
        """


class Output(BaseModel):
    """What an operation answers."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Nothing(Input):
    """No input."""


class Paged(Input):
    """A page of a list, newest first."""

    cursor: Annotated[str, StringConstraints(max_length=2000)] | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=50, ge=1, le=200)
    """Most items of a page."""


T = TypeVar("T")
I = TypeVar("I", bound=Input)  # noqa: E741
O = TypeVar("O", bound=Output)  # noqa: E741


class Page(Output, Generic[T]):
    """A page of a list."""

    # Pydantic finds no docstrings of fields in a parametrised class.
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=False)

    items: list[T]
    next_cursor: str | None = None
    """Where the next page starts; null on the last one."""


class Done(Output):
    """An operation that has nothing more to say."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[I, O]):
    """One thing that can be asked for."""

    name: str
    """`group.verb`: the agent tool, and the command `orrery group verb`."""
    method: Method
    path: str
    """Path of the REST route; names in braces are fields of the input."""
    summary: str
    """One sentence, imperative, for documentation, tools and command help."""
    input: type[I]
    output: type[O]
    permission: Permission | None
    """None: anybody who is signed in."""
    status: int = 200
    cost: Cost = "read"
    problems: tuple[str, ...] = ()
    """Problems it may answer with beyond those of every operation."""
    streams: bool = False
    """Whether it answers with server-sent events, each one `output`."""
    for_agents: bool = True
    """Whether it is offered as a tool."""
    shows_secret: bool = False
    """Whether its answer holds a secret, which is shown once."""

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.cost != "read"

    @property
    def group(self) -> str:
        """Operations shown together."""
        return self.name.partition(".")[0]

    @property
    def verb(self) -> str:
        """What is done, within the group."""
        return self.name.partition(".")[2]

    @property
    def path_fields(self) -> list[str]:
        """Fields that the path names, in order."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    @property
    def is_keyed(self) -> bool:
        """Whether it takes an idempotency key that is no field of its input."""
        # Calls of agents are keyed by their plan.
        return self.changes and self.group != "agent" and KEY_FIELD not in self.input.model_fields

    @property
    def header_fields(self) -> list[str]:
        """Fields of the input that REST takes from headers."""
        return [name for name in HEADERS if name in self.input.model_fields]

    @property
    def other_fields(self) -> list[str]:
        """Fields of the query (GET and DELETE) or of the body."""
        taken = {*self.path_fields, *self.header_fields}
        return [name for name in self.input.model_fields if name not in taken]

    @property
    def has_body(self) -> bool:
        """Whether the other fields are sent in a body."""
        return self.method in ("POST", "PUT", "PATCH") and bool(self.other_fields)


def item_type(output: type[Output]) -> Any:
    """Type of the items of a page's list, or None for another output."""
    field = output.model_fields.get("items") if issubclass(output, Page) else None
    return get_args(field.annotation)[0] if field else None
