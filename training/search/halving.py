"""Which trials are worth going on: asynchronous successive halving (ASHA, Li et al. 2020)."""

from types import SimpleNamespace

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from projects.search import Search

FACTOR = 3
"""One of so many trials goes on at every rung."""
SHORTEST = 9
"""A trial that could make so many times more reports than another is still compared with it."""
LONGEST = 1_000_000
VALUE, REPORT = "value", "report"


class Halving:
    """The rungs of one search: reports at which trials are compared."""

    def __init__(self, search: Search, reports: int | None) -> None:
        """`reports` is how many a whole trial makes, where that is known."""
        self._is_on, self._is_max = search.stop_early, search.aim == "max"
        first = max(1, (reports or 1) // SHORTEST)
        self._scheduler = ASHAScheduler(
            time_attr=REPORT,
            metric=VALUE,
            mode="max",
            grace_period=first,
            max_t=LONGEST,
            reduction_factor=FACTOR,
        )
        self._known: dict[int, SimpleNamespace] = {}

    def goes_on(self, number: int, report: int, value: float) -> bool:
        """Whether the trial is worth going on, which has reported the value of the metric."""
        if not self._is_on:
            return True
        trial = self._known.get(number)
        if trial is None:
            trial = self._known[number] = SimpleNamespace(trial_id=str(number))
            self._scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        told = {REPORT: report, VALUE: value if self._is_max else -value}
        decision = self._scheduler.on_trial_result(None, trial, told)  # type: ignore[arg-type]
        return decision != TrialScheduler.STOP
