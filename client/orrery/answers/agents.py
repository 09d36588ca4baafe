"""What operations take and answer: agents.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Tool:
    """An operation as an agent sees it."""

    name: str
    description: str
    changes: bool
    """Whether it first answers with a preview, and acts only when called with its plan hash."""
    cost: Literal["read", "light", "compute"]
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What the caller may use."""

    tools: list[Tool]
    read_only: bool
    """Whether this key's agents may change nothing."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a changing tool would do."""

    effect: str
    cost: dict[str, Any]
    """Range of what it will cost: seconds, GPU-hours and money, as far as history tells."""
    quota: dict[str, Any]
    """What is left of the key's budget, before and after."""
    resolved: dict[str, Any]
    """The request with every reference resolved."""
    consequences: list[str] = field(default_factory=list)
    """What else it changes: traffic, dependants, gates, running work."""
    undo: str = ""
    """How to undo it."""
    plan_hash: str = ""
    """Call again with this hash, the same key and parameters, within ten minutes to act, once. A
    plan that no longer holds is refused (409); each preview is a new intention."""


@dataclass(frozen=True, kw_only=True)
class Executed:
    """What came of a tool call: a preview, or a result."""

    tool: str
    status: Literal["preview", "done", "already_done"]
    """`already_done`: the plan was carried out before, and nothing more was done."""
    preview: Preview | None = None
    result: dict[str, Any] | None = None
    handle: str | None = None
    """Job to poll with `jobs.get`, where the tool started long work."""


@dataclass(frozen=True, kw_only=True)
class MadeCall:
    """A reading call that was made to answer."""

    tool: str
    params: dict[str, Any]
    failed: bool
    result: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PlannedCall:
    """A call that waits for consent: run it with `agent.execute` and its plan hash."""

    tool: str
    params: dict[str, Any]
    preview: Preview


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the sentence led to."""

    answer: str
    calls: list[MadeCall]
    plan: list[PlannedCall] = field(default_factory=list)
