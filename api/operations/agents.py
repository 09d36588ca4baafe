"""Operations for AI agents: the other operations as tools, and sentences turned into tool calls."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from api.operations.jobs import CallbackUrl
from api.operations.operation import Cost, Input, Nothing, Operation, Output

PlanHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Tool(Output):
    """An operation as an agent sees it."""

    name: str
    description: str
    changes: bool
    """Whether it first answers with a preview, and acts only when called with its plan hash."""
    cost: Cost
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


class Tools(Output):
    """What the caller may use."""

    tools: list[Tool]
    read_only: bool
    """Whether this key's agents may change nothing."""


class Execute(Input):
    """A tool call."""

    tool: Annotated[str, StringConstraints(max_length=80)]
    params: dict[str, Any] = {}
    callback: CallbackUrl | None = None
    """URL that gets a signed message when a job ends."""
    plan_hash: PlanHash | None = None
    """Hash of the preview that was agreed to; needed by tools that change something."""


class Preview(Output):
    """What a changing tool would do."""

    effect: str
    cost: dict[str, Any]
    """Range of what it will cost: seconds, GPU-hours and money, as far as history tells."""
    quota: dict[str, Any]
    """What is left of the key's budget, before and after."""
    resolved: dict[str, Any]
    """The request with every reference resolved."""
    consequences: list[str] = []
    """What else it changes: traffic, dependants, gates, running work."""
    undo: str = ""
    """How to undo it."""
    plan_hash: str = ""
    """Call again with this hash, the same key and parameters, within ten minutes to act, once. A
    plan that no longer holds is refused (409); each preview is a new intention."""


class Executed(Output):
    """What came of a tool call: a preview, or a result."""

    tool: str
    status: Literal["preview", "done", "already_done"]
    """`already_done`: the plan was carried out before, and nothing more was done."""
    preview: Preview | None = None
    result: dict[str, Any] | None = None
    handle: str | None = None
    """Job to poll with `jobs.get`, where the tool started long work."""


class Ask(Input):
    """A sentence."""

    question: Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class PlannedCall(Output):
    """A call that waits for consent: run it with `agent.execute` and its plan hash."""

    tool: str
    params: dict[str, Any]
    preview: Preview


class MadeCall(Output):
    """A reading call that was made to answer."""

    tool: str
    params: dict[str, Any]
    failed: bool
    result: dict[str, Any]


class Answer(Output):
    """What the sentence led to."""

    answer: str
    calls: list[MadeCall]
    plan: list[PlannedCall] = Field(default=[])


TOOLS = Operation(
    name="agent.tools",
    method="GET",
    path="/agent/tools",
    summary="List the tools that your key may use, with the schemas of their inputs and outputs.",
    input=Nothing,
    output=Tools,
    permission=None,
    for_agents=False,
)
EXECUTE = Operation(
    name="agent.execute",
    method="POST",
    path="/agent/execute",
    summary="Call a tool; one that changes something first answers with a preview.",
    input=Execute,
    output=Executed,
    permission=None,
    cost="light",
    problems=(
        "not-found",
        "conflict",
        "invalid",
        "stale-plan",
        "budget-exceeded",
        "capacity",
        "precondition-failed",
        "not-serving",
        "forbidden",
    ),
    for_agents=False,
)
ASK = Operation(
    name="agent.ask",
    method="POST",
    path="/agent/ask",
    summary="Turn a sentence into tool calls: readings are made, changes are shown as a plan.",
    input=Ask,
    output=Answer,
    permission=None,
    cost="light",
    problems=("not-configured", "upstream-failed"),
    for_agents=False,
)
OPERATIONS = (TOOLS, EXECUTE, ASK)
