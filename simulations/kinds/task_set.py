"""Tasks of one's own with their right answers, or a function that judges what is answered.

It asks the model as a service does: for the text that it writes, or the class that it names.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, JsonValue, model_validator

from engine.protocol import Refused
from projects.declared import Declared, Name
from projects.schema import Dataset, Model
from projects.suite import needs_rows
from simulations.kind import SuiteKind, SuiteRun
from simulations.outcomes import Outcomes, Scenario
from simulations.own_function import FunctionPath, digest_of, imported, judgement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement

METRIC = "success"
EVERY = "all"
"""Scenario of all tasks."""


class Task(Declared):
    """One thing to answer."""

    given: str | dict[str, JsonValue]
    """The text, or a row by column name."""
    expected: str | None = None
    """The right answer; needed where no function judges."""
    group: Name | None = None
    """Scenario of its own that the task belongs to, besides that of all."""


class TaskSet(SuiteKind):
    """Tasks with right answers; metric: success, the share of tasks that are answered rightly.

    All tasks are the scenario `all`, and each group is one of its own. With `judge` a function
    takes `given`, `answer` and `expected`, and returns a number from 0 (wrong) to 1 (right).
    """

    kind: Literal["task_set"]
    tasks: Annotated[list[Task], Field(min_length=2, max_length=10_000)]
    """Tasks: `given` (a text, or a row by column name), `expected`, and `group`."""
    right: Literal["equal", "contains"] = "equal"
    """Whether the answer must be what is expected, or contain it; spaces around it do not count."""
    ignore_case: bool = False
    """Whether capitals do not count."""
    judge: FunctionPath | None = None
    """`module:function`, beside the project file or in the environment."""
    not_gated: list[str] = []
    """Groups that are measured and drawn, but not gated."""
    code_digest: str = ""
    """SHA-256 of the judge's module, which the platform fills in: evidence of other code does not
    count."""

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        for number, task in enumerate(self.tasks):
            if self.judge is None and task.expected is None:
                raise ValueError(
                    f"task {number} has no expected answer, and no function judges; expected one "
                    "of both (expected, judge)"
                )
        return self

    def metrics(self) -> tuple[str, ...]:
        """Names of what it measures."""
        return (METRIC,)

    def misfit(self, model: Model, dataset: Dataset | None) -> str:
        """Why the suite cannot try the model; empty where it can."""
        return needs_rows(self, dataset)

    def code(self) -> tuple[str, ...]:
        """The function that judges."""
        return () if self.judge is None else (self.judge,)

    def resolved(self, declaration: Path) -> Self:
        """The suite with the hash of its code. Raises UnusableSuite."""
        if self.judge is None:
            return self
        digest = digest_of(self.judge, declaration, "judge")
        return self.model_copy(update={"code_digest": digest})

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """Whether each task is answered rightly. Raises Refused."""
        judge = imported(self.judge, run.python_path) if self.judge else self._is_right
        columns = [column.name for column in run.subject.signature.columns]
        rows = list(self._rows(columns))
        with run.trials(1) as trials:
            trials.still_at(f"{len(rows)} tasks")
            judged = trials.measure("tasks", lambda: self._judged(judge, run, rows))
        groups = {EVERY: [True] * len(rows)}
        for name in dict.fromkeys(task.group for task in self.tasks if task.group):
            groups[name] = [task.group == name for task in self.tasks]
        values = np.stack([np.where(part, judged, np.nan) for part in groups.values()])
        scenarios = [Scenario(name, {}, name not in self.not_gated) for name in groups]
        # Nothing is drawn, so one seed stands for all.
        seeds = self.seeds[:1]
        return [Outcomes(METRIC, True, scenarios, seeds, values[:, None], seeds_repeat_units=True)]

    def _rows(self, columns: list[str]) -> Iterator[dict[str, Any]]:
        for number, task in enumerate(self.tasks):
            if isinstance(task.given, dict):
                yield dict(task.given)
            elif len(columns) == 1:
                yield {columns[0]: task.given}
            else:
                raise Refused(
                    f"task {number} gives a text to a model of the columns {', '.join(columns)}, "
                    "expected a row by column name"
                )

    def _judged(
        self, judge: Callable[..., Any], run: SuiteRun, rows: list[dict[str, Any]]
    ) -> np.ndarray:
        """Success of each task, float64 [tasks]."""
        path = self.judge or self.kind
        answers = run.subject.predicted(rows)
        return np.array(
            [
                judgement(path, judge, f"task {number}", task.given, answer, task.expected)
                for number, (task, answer) in enumerate(zip(self.tasks, answers, strict=True))
            ]
        )

    def _is_right(self, given: Any, answer: Any, expected: str | None) -> bool:
        got, wanted = str(answer).strip(), str(expected).strip()
        if self.ignore_case:
            got, wanted = got.casefold(), wanted.casefold()
        return wanted in got if self.right == "contains" else wanted == got

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Success by group with its interval."""
        from simulations.pictures import intervals

        return {METRIC: intervals(measurements, METRIC)}


KIND = TaskSet
