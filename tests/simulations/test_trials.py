"""Trials are kept, resumed and reported one by one: a long suite is neither hung nor begun anew."""

import numpy as np
import pytest

from engine.progress import history_of
from simulations import trials
from simulations.trials import Trials


@pytest.fixture(autouse=True)
def kept_at_once(monkeypatch):
    monkeypatch.setattr(trials, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(trials, "REPORT_EVERY_S", 0.0)


def measured(calls: list[str], name: str, value: float):
    def measure() -> np.ndarray:
        calls.append(name)
        return np.array([value])

    return measure


def lines_of(workdir) -> list[str]:
    return (workdir / "progress.jsonl").read_text().splitlines()


def test_what_an_earlier_attempt_has_measured_is_not_measured_again(tmp_path):
    calls: list[str] = []
    first = Trials(tmp_path, total=3)
    for name, value in (("a", 1.0), ("b", 2.0)):
        first.measure(name, measured(calls, name, value))
    # Killed here, with the third trial under way.
    second = Trials(tmp_path, total=3)
    values = [
        second.measure(n, measured(calls, n, v)) for n, v in zip("abc", (9, 9, 3), strict=True)
    ]
    assert calls == ["a", "b", "c"]
    assert [float(value[0]) for value in values] == [1.0, 2.0, 3.0]


def test_progress_counts_trials_and_never_goes_back_after_a_resume(tmp_path):
    first = Trials(tmp_path, total=2)
    first.measure("a", measured([], "a", 1.0))
    second = Trials(tmp_path, total=2)
    for name in "ab":
        second.measure(name, measured([], name, 1.0))
    text = "\n".join(lines_of(tmp_path))
    assert "resuming after 1 trials" in text
    assert history_of(tmp_path) is not None
    assert '"done":2' in text.replace(" ", "")


def test_a_long_trial_says_that_it_goes_on(tmp_path):
    begun = Trials(tmp_path, total=1)
    before = len(lines_of(tmp_path))
    begun.still_at("epsilon 0.1: restart 2 of 3")
    assert "restart 2 of 3" in lines_of(tmp_path)[before]
