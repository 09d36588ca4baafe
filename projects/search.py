"""The search for hyperparameters that a model declares: ranges, a metric, and an end."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, FiniteFloat, StringConstraints, model_validator

from projects.declared import Declared
from projects.finished_model import FINISHED, NAMED_MODELS
from projects.hyperparameters import Hyperparameter, HyperparameterName

if TYPE_CHECKING:
    from projects.schema import Model

Goal = Literal["min", "max"]
MetricName = Annotated[str, StringConstraints(pattern=r"^[\w.:/ -]+$", max_length=240)]

KINDS = ("uniform", "log_uniform", "integer", "log_integer", "choice")
"""Keys of a range, of which it has one."""
STEPPED = ("uniform", "integer")
"""Kinds whose values may have a distance between them."""
GOALS: dict[str, Goal] = {
    **dict.fromkeys(("loss", "error", "rmse", "mse", "mae", "perplexity", "wer"), "min"),
    **dict.fromkeys(
        ("accuracy", "f1", "r2", "auc", "auroc", "precision", "recall", "return", "reward"), "max"
    ),
    **dict.fromkeys(("exact_match", "bleu", "rouge"), "max"),
}
"""Goal by the end of a metric's name."""
WITHHELD = "test_"
"""How metrics of the rows begin that no trainer is given."""


PAIR = Field(min_length=2, max_length=2)


class Bounds(NamedTuple):
    """The smallest and the largest value of a range."""

    low: float
    high: float


class Range(Declared):
    """Values of one hyperparameter that trials choose from: exactly one of `uniform`,
    `log_uniform`, `integer` and `log_integer`, each as `[low, high]`, or `choice`."""

    uniform: Annotated[list[FiniteFloat], PAIR] | None = None
    """Real numbers, each as likely as another."""
    log_uniform: Annotated[list[FiniteFloat], PAIR] | None = None
    """Real numbers above 0, each order of magnitude as likely as another."""
    integer: Annotated[list[int], PAIR] | None = None
    """Whole numbers."""
    log_integer: Annotated[list[int], PAIR] | None = None
    """Whole numbers above 0, each order of magnitude as likely as another."""
    choice: list[Hyperparameter] | None = Field(default=None, min_length=1, max_length=1_000)
    """Any values."""
    step: FiniteFloat | None = Field(default=None, gt=0)
    """Distance between the values of `uniform` or `integer`, from `low` on."""

    @model_validator(mode="after")
    def _is_one_range(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"got {' and '.join(given) or 'no range'}, expected exactly one of "
                f"{', '.join(KINDS)}"
            )
        if self.choice is not None:
            self._require_distinct(self.choice)
            bounds = None
        else:
            bounds = self.bounds
            self._require_width(bounds)
        self._require_step(bounds)
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def bounds(self) -> Bounds:
        """Ends of a range of numbers; the upper one is a value that a step reaches."""
        low, high = getattr(self, self.kind)
        if self.step is not None:
            # A little more than the quotient, which rounding may have made smaller.
            high = low + int((high - low) / self.step + 1e-9) * self.step
        return Bounds(low, high)

    @property
    def ends(self) -> list[Any]:
        """Values that stand for all: both ends, or every choice."""
        if self.choice is not None:
            return list(self.choice)
        bounds = self.bounds
        whole = self.kind in ("integer", "log_integer")
        return [int(end) if whole else end for end in (bounds.low, bounds.high)]

    def holds(self, value: Any) -> bool:
        """Whether a trial may choose the value."""
        if self.choice is not None:
            return self.position(value) is not None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return self.bounds.low <= value <= self.bounds.high

    def position(self, value: Any) -> int | None:
        """Place of the value among the choices; None where it is none of them."""
        places = enumerate(self.choice or [])
        return next((place for place, each in places if _is_same(value, each)), None)

    def _require_distinct(self, choice: list[Any]) -> None:
        for position, value in enumerate(choice):
            if any(_is_same(value, other) for other in choice[:position]):
                raise ValueError(f"got {value!r:.80} twice in choice, expected it once")

    def _require_width(self, bounds: Bounds) -> None:
        low, high = getattr(self, self.kind)
        if low >= high:
            raise ValueError(f"got [{low}, {high}], expected a low end below the high end")
        if self.kind.startswith("log") and low <= 0:
            raise ValueError(f"got [{low}, {high}] for {self.kind}, expected ends above 0")
        if bounds.low == bounds.high:
            raise ValueError(f"got step {self.step}, expected at most {high - low}")

    def _require_step(self, bounds: Bounds | None) -> None:
        if self.step is None:
            return
        if bounds is None or self.kind not in STEPPED:
            raise ValueError(f"got step beside {self.kind}, expected {' or '.join(STEPPED)}")
        if self.kind == "integer" and self.step != int(self.step):
            raise ValueError(f"got step {self.step} of whole numbers, expected a whole number")


def _is_same(one: Any, other: Any) -> bool:
    # In Python 1, 1.0 and True are equal; to a trainer they are not.
    return type(one) is type(other) and one == other


class SearchBudget(Declared):
    """What a search may use besides its number of trials; used up, it ends with the best so
    far."""

    time_s: float | None = Field(default=None, gt=0)
    """Time that it works, without its time in queues."""
    gpu_h: float | None = Field(default=None, gt=0)
    """GPU-hours of all trials together."""


class Search(Declared):
    """Trials with values from ranges; the best one's model is the job's."""

    over: dict[HyperparameterName, Range] = Field(min_length=1, max_length=100)
    """Range by hyperparameter. A value that the model declares too is that of the first trial."""
    metric: MetricName
    """What the trainer reports and trials are compared by: its last value, which belongs to the
    trial's model."""
    goal: Goal | None = None
    """Whether the smallest or the largest value is best; needed where the metric's name does not
    say it."""
    trials: int = Field(default=16, ge=1, le=10_000)
    at_once: int = Field(default=1, ge=1, le=256)
    """Trials side by side, each with the model's `resources`: the job asks for so many times
    those."""
    budget: SearchBudget = SearchBudget()
    stop_early: bool = True
    """Whether a trial ends that is worse than two thirds of those that got as far (ASHA, Li et
    al. 2020)."""

    @model_validator(mode="after")
    def _has_a_goal(self) -> Self:
        if self.metric.startswith(WITHHELD):
            raise ValueError(
                f"got metric {self.metric!r}, which is measured on the rows that judge the model; "
                "expected one that the trainer reports, such as validation_loss"
            )
        if self.goal is None and known_goal(self.metric) is None:
            raise ValueError(
                f"got metric {self.metric!r} without a goal, expected goal: min or goal: max"
            )
        return self

    @property
    def aim(self) -> Goal:
        """The goal, as declared or by the name of the metric."""
        goal = self.goal or known_goal(self.metric)
        assert goal  # the validator has asked for it
        return goal

    @property
    def best_name(self) -> str:
        """Name of the curve of the best value so far."""
        return f"best_{self.metric}"

    @property
    def first_values(self) -> dict[str, Any]:
        """A value of each range: its low end, or its first choice."""
        return {name: each.ends[0] for name, each in self.over.items()}

    def without(self, names: Mapping[str, Any]) -> "Search | None":
        """The search over the other hyperparameters; None where there are none."""
        over = {name: each for name, each in self.over.items() if name not in names}
        return self.model_copy(update={"over": over}) if over else None


def known_goal(metric: str) -> Goal | None:
    """Goal by the end of the metric's name; None where it is not known."""
    name = metric.lower()
    ends = (end for end in GOALS if name == end or name.endswith(f"_{end}"))
    return next((GOALS[end] for end in ends), None)


def search_faults(model: "Model") -> Iterator[tuple[str, str]]:
    """What keeps the model from being searched: a path within it, and a message."""
    search = model.search
    if search is None:
        return
    if model.trainer == FINISHED:
        yield "search", "got a search for a finished model, expected a trainer: it learns nothing"
    named = NAMED_MODELS.get(model.trainer)
    if named in search.over:
        yield (
            f"search.over.{named}",
            f"{named!r} names a model, whose content is fixed when a job starts; expected it in "
            "hyperparameters",
        )
    if model.resources.workers > 1:
        yield (
            "resources.workers",
            f"got {model.resources.workers} workers and a search, expected 1: every trial trains "
            "on one worker; search.at_once says how many trials run side by side",
        )
    declared = model.hyperparameters
    for name in search.over.keys() & declared.keys():
        if not search.over[name].holds(declared[name]):
            yield (
                f"hyperparameters.{name}",
                f"got {declared[name]!r:.80}, which search.over.{name} does not hold; expected a "
                "value for the first trial, or none",
            )
