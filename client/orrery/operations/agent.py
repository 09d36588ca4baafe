"""Operations of the group agent.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from collections.abc import Mapping
from typing import Any

from orrery.answers.agents import Answer, Executed, Tools
from orrery.connection import Connection, Route


class AgentOperations:
    """Operations of the group agent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tools(self) -> Tools:
        """List the tools that your key may use, with the schemas of their inputs and outputs.

        Raises Refused, or Unreachable.
        """
        return self._connection.call(_TOOLS, Tools, {})

    def execute(
        self,
        tool: str,
        *,
        params: Mapping[str, Any] | None = None,
        callback: str | None = None,
        plan_hash: str | None = None,
    ) -> Executed:
        """Call a tool; one that changes something first answers with a preview.

        callback: URL that gets a signed message when a job ends.
        plan_hash: Hash of the preview that was agreed to; needed by tools that change
            something.

        Raises NotFound, Conflict, StalePlan, BudgetExceeded, Capacity, PreconditionFailed,
        NotServing, another Refused, or Unreachable.
        """
        return self._connection.call(
            _EXECUTE,
            Executed,
            {"tool": tool, "params": params, "callback": callback, "plan_hash": plan_hash},
        )

    def ask(self, question: str) -> Answer:
        """Turn a sentence into tool calls: readings are made, changes are shown as a plan.

        Raises NotConfigured, UpstreamFailed, another Refused, or Unreachable.
        """
        return self._connection.call(_ASK, Answer, {"question": question})


_TOOLS = Route(method="GET", path="/agent/tools", only_reads=True)
_EXECUTE = Route(method="POST", path="/agent/execute", has_body=True)
_ASK = Route(method="POST", path="/agent/ask", has_body=True)
