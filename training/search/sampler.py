"""What to try next: Optuna's tree-structured Parzen estimator (Bergstra et al. 2011).

A suggestion depends on the seed, its number and the trials before it alone, so a search that was
killed goes on as it would have.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from projects.search import Range, Search
from training.search.trial import Trial

RANDOM_TRIALS = 10
"""First trials, which are drawn at random."""


class Sampler:
    """The trials so far as Optuna knows them."""

    def __init__(self, search: Search, seed: int, first: Mapping[str, Any]) -> None:
        """`first` holds values of the first trial."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._search, self._seed = search, seed
        self._first = {name: first[name] for name in search.over if name in first}
        self._distributions = {name: _distribution(each) for name, each in search.over.items()}
        direction = "minimize" if search.aim == "min" else "maximize"
        self._study = optuna.create_study(direction=direction)
        self._asked: dict[int, optuna.Trial] = {}

    def suggest(self, number: int) -> dict[str, Any]:
        """Values of the next trial, whose number it is, by hyperparameter."""
        sequence = np.random.SeedSequence([self._seed, number])
        self._study.sampler = optuna.samplers.TPESampler(
            seed=int(sequence.generate_state(1)[0]),
            n_startup_trials=RANDOM_TRIALS,
            # Trials that run side by side would be suggested the same values.
            constant_liar=self._search.at_once > 1,
        )
        if number == 0 and self._first:
            self._study.enqueue_trial(self._optuna_values(self._first))
        asked = self._study.ask(self._distributions)
        assert asked.number == number
        self._asked[number] = asked
        return {
            name: each.choice[asked.params[name]] if each.choice else asked.params[name]
            for name, each in self._search.over.items()
        }

    def add(self, trial: Trial, history: list[dict[str, float]]) -> None:
        """Take up a trial that an earlier attempt suggested."""
        params = self._optuna_values(trial.values)
        if trial.state == "running":
            self._study.enqueue_trial(params)
            self._asked[trial.number] = self._study.ask(self._distributions)
            return
        state = self._state_of(trial)
        reported = self._reported(history)
        added = optuna.create_trial(
            state=state,
            # Optuna takes the last report for the value of a trial that was ended early.
            value=trial.value if state != TrialState.FAIL else None,
            params=params,
            distributions=self._distributions,
            intermediate_values=reported,
        )
        self._study.add_trial(added)

    def end(self, trial: Trial, history: list[dict[str, float]]) -> None:
        """Learn how the trial ended, and what it reported."""
        asked, state = self._asked.pop(trial.number), self._state_of(trial)
        for step, value in self._reported(history).items():
            asked.report(value, step)
        value = trial.value if state == TrialState.COMPLETE else None
        self._study.tell(asked, value, state)

    def _reported(self, history: list[dict[str, float]]) -> dict[int, float]:
        metric = self._search.metric
        return {int(point["step"]): point[metric] for point in history if metric in point}

    def _state_of(self, trial: Trial) -> TrialState:
        if trial.state == "finished":
            return TrialState.COMPLETE
        is_measured = trial.state == "stopped" and trial.value is not None
        return TrialState.PRUNED if is_measured else TrialState.FAIL

    @property
    def study(self) -> optuna.Study:
        """Optuna's study of the trials, in which a choice is the position of its value."""
        return self._study

    def _optuna_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: each.position(values[name]) if each.choice else values[name]
            for name, each in self._search.over.items()
            if name in values
        }


def _distribution(each: Range) -> BaseDistribution:
    if each.choice is not None:
        # Positions: Optuna takes no lists or mappings as choices.
        return CategoricalDistribution(range(len(each.choice)))
    low, high = each.bounds
    is_log = each.kind.startswith("log")
    if each.kind in ("integer", "log_integer"):
        return IntDistribution(int(low), int(high), log=is_log, step=int(each.step or 1))
    return FloatDistribution(low, high, log=is_log, step=each.step)
