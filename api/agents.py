"""Operations as tools for AI agents: what there is, what it would do, and doing it on consent."""

from typing import Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from api.once import answered_before
from api.operations.agents import Execute, Executed, Preview, Tool, Tools
from api.operations.jobs import Job
from api.operations.operation import Input, Nothing, Operation
from api.operations.table import BY_NAME, OPERATIONS
from api.performing import Performer, told
from api.planning import preview
from api.platform import Call
from api.problems import FieldError, Problem
from projects.nearest import hint


class Agents:
    """The tools of every caller."""

    def __init__(self, performer: Performer) -> None:
        self.performer = performer
        performer.bind("agent.tools", self._tools)
        performer.bind("agent.execute", self.execute)

    def offered(self, call: Call) -> list[Operation]:
        """Operations that the caller's agents may use."""
        principal = call.principal
        return [
            operation
            for operation in OPERATIONS
            if operation.for_agents
            and (operation.permission is None or principal.may(operation.permission))
            and (principal.agents_may_change or not operation.changes)
        ]

    async def _tools(self, call: Call, _: Nothing) -> Tools:
        shown = [tool_of(operation) for operation in self.offered(call)]
        return Tools(tools=shown, read_only=not call.principal.agents_may_change)

    async def execute(self, call: Call, asked: Execute) -> Executed:
        """A preview, or what came of the call.

        Raises Problem, whose errors name what the agent should change.
        """
        operation = self._operation(call, asked.tool)
        params = dict(asked.params)
        if asked.callback and "callback" in operation.input.model_fields:
            params.setdefault("callback", asked.callback)
        made = validated(operation, params)
        inner = Call(call.platform, call.principal, operation.name, call.on_behalf_of)
        await self.performer.admit(inner, operation)
        if operation.changes:
            made = _once(operation, made, asked.plan_hash)
            if not await run_in_threadpool(_was_done, inner, made):
                plan = await run_in_threadpool(self._planned, inner, operation, made)
                if asked.plan_hash is None:
                    return Executed(tool=asked.tool, status="preview", preview=plan)
                if asked.plan_hash != plan.plan_hash:
                    raise Problem(
                        "stale-plan",
                        f"got plan {asked.plan_hash[:12]}, but the plan is {plan.plan_hash[:12]} "
                        "now: something it rests on has changed, or the parameters differ",
                        todo="Call without plan_hash, look at the preview, and call with its hash.",
                    )
        result = await self.performer.perform(inner, operation, made)
        return Executed(
            tool=asked.tool,
            status="done",
            result=result.model_dump(mode="json"),
            handle=result.job_id if isinstance(result, Job) else None,
        )

    def _planned(self, call: Call, operation: Operation, asked: Input) -> Preview:
        with told():
            return preview(call, operation, asked, self.performer.handlers)

    def _operation(self, call: Call, tool: str) -> Operation:
        offered = {operation.name: operation for operation in self.offered(call)}
        if tool in offered:
            return offered[tool]
        known = BY_NAME.get(tool)
        if known is not None and known.for_agents:
            if known.changes and not call.principal.agents_may_change:
                raise Problem(
                    "forbidden",
                    f"{tool} changes something, and agents with this key only read",
                    todo="Ask for a key made with agents_may_change.",
                )
            raise Problem("forbidden", f"role {call.principal.role} may not use {tool}")
        raise Problem("not-found", f"there is no tool {tool!r}{hint(tool, offered)}")


def tool_of(operation: Operation) -> Tool:
    """The operation as an agent sees it."""
    text = operation.summary
    if operation.changes:
        text += (
            " Changes something: the first call only answers with a preview; call again with "
            "its plan_hash to act."
        )
    return Tool(
        name=operation.name,
        description=text,
        changes=operation.changes,
        cost=operation.cost,
        input_schema=operation.input.model_json_schema(),
        output_schema=operation.output.model_json_schema(mode="serialization"),
    )


def validated(operation: Operation, params: dict[str, Any]) -> Input:
    """The input of the operation. Raises the problem `invalid` with every field that is wrong."""
    try:
        return operation.input.model_validate(params)
    except ValidationError as error:
        known = operation.input.model_fields
        errors = []
        for found in error.errors():
            field = ".".join(str(part) for part in found["loc"])
            near = hint(str(found["loc"][0]), known) if found["type"] == "extra_forbidden" else ""
            errors.append(FieldError(field=field, message=found["msg"] + near))
        text = f"{len(errors)} parameters of {operation.name} do not fit its input_schema"
        raise Problem("invalid", text, errors=errors) from error


def _once(operation: Operation, asked: Input, plan_hash: str | None) -> Input:
    """The input with the plan as its idempotency key: an agreed plan is carried out once."""
    if plan_hash is None or "idempotency_key" not in operation.input.model_fields:
        return asked
    if getattr(asked, "idempotency_key", None):
        return asked
    return asked.model_copy(update={"idempotency_key": f"plan-{plan_hash}"})


def _was_done(call: Call, asked: Input) -> bool:
    """Whether the same request was carried out before, and will be answered as it was."""
    key = getattr(asked, "idempotency_key", None)
    if not key:
        return False
    exclude = {"idempotency_key"}
    with call.platform.control.read() as connection:
        known = answered_before(
            connection, call, key, asked.model_dump(mode="json", exclude=exclude)
        )
    return known is not None
