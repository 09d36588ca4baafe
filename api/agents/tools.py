"""Operations as tools for AI agents: what there is, what it would do, and doing it on consent."""

from dataclasses import replace
from functools import cache
from typing import Any, Literal

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from api.agents import plans
from api.agents.planning import preview
from api.context import Call
from api.executor import Executor, require_sense, translated_errors
from api.jobs.idempotency import kept_answer
from api.operations.agents import Execute, Executed, Preview, Tool, Tools
from api.operations.jobs import Job
from api.operations.operation import Input, Nothing, Operation, Output
from api.operations.table import BY_NAME, OPERATIONS
from api.problems import FieldError, Problem
from projects.mistakes import located
from projects.nearest import hint


class Agents:
    """The tools of every caller."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        executor.bind("agent.tools", self._tools)
        executor.bind("agent.execute", self.execute)

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

    async def execute(self, call: Call, request: Execute) -> Executed:
        """A preview, or what came of the call.

        Raises Problem, whose errors name what the agent should change.
        """
        operation = self._operation(call, request.tool)
        params = dict(request.params)
        if request.callback and "callback" in operation.input.model_fields:
            params.setdefault("callback", request.callback)
        validated_input = validated(operation, params)
        inner = replace(call, operation=operation.name, idempotency_key=None)
        await self.executor.admit(inner, operation)
        if operation.changes and request.plan_hash is None:
            plan = await run_in_threadpool(self._planned, inner, operation, validated_input)
            return Executed(tool=request.tool, status="preview", preview=plan)
        if operation.changes and request.plan_hash is not None:
            done = await run_in_threadpool(
                self._agreed, inner, operation, validated_input, request.plan_hash
            )
            if done is not None:
                return _executed(request.tool, "already_done", done)
            inner = replace(inner, idempotency_key=_key_of(request.plan_hash))
        result = await self.executor.perform(inner, operation, validated_input)
        return _executed(request.tool, "done", result)

    def _planned(self, call: Call, operation: Operation, request: Input) -> Preview:
        with translated_errors():
            plan, content = preview(call, operation, request, self.executor.handlers)
            with call.platform.control.write() as connection:
                digest = plans.keep(connection, call, content)
        return plan.model_copy(update={"plan_hash": digest})

    def _agreed(
        self, call: Call, operation: Operation, request: Input, digest: str
    ) -> Output | None:
        """The answer of a plan that was carried out before; None for one that is to be carried out
        now.

        Raises the problem `stale-plan` where what it says does not hold any more.
        """
        with call.platform.control.read() as connection:
            content, is_fresh = plans.content_of(connection, call, digest)
        kept = kept_answer(call, _key_of(digest))
        # Before the age of the plan is checked: what was carried out is answered again for a week.
        if kept is not None:
            return self.executor.replayed(call, operation, kept)
        if not is_fresh:
            raise Problem(
                "stale-plan",
                f"the plan {digest[:12]} is older than {plans.LIFE_S / 60:.0f} minutes",
                todo="Call without plan_hash, look at the new preview, and call with its hash.",
            )
        with translated_errors():
            _, present = preview(call, operation, request, self.executor.handlers)
        if present != content:
            raise Problem(
                "stale-plan",
                f"the plan {digest[:12]} does not hold: something it rests on has changed, or the "
                "parameters differ",
                todo="Call without plan_hash, look at the new preview, and call with its hash.",
            )
        return None

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


@cache
def tool_of(operation: Operation) -> Tool:
    """The operation as an agent sees it; its schemas take milliseconds to write."""
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
        request = operation.input.model_validate(params)
        require_sense(request)
        return request
    except ValidationError as error:
        known = operation.input.model_fields
        errors = []
        for place, detail in located(error.errors(), params):
            field = ".".join(map(str, place))
            near = hint(str(place[0]), known) if detail["type"] == "extra_forbidden" else ""
            errors.append(FieldError(field=field, message=detail["msg"] + near))
        text = f"{len(errors)} parameters of {operation.name} do not fit its input_schema"
        raise Problem("invalid", text, errors=errors) from error


def _key_of(plan: str) -> str:
    """Idempotency key of a plan, which is carried out once."""
    return f"plan-{plan}"


def _executed(tool: str, status: Literal["done", "already_done"], result: Output) -> Executed:
    return Executed(
        tool=tool,
        status=status,
        result=result.model_dump(mode="json"),
        handle=result.job_id if isinstance(result, Job) else None,
    )
