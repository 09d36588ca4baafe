"""Trials are kept, resumed and reported one by one: a long suite is neither hung nor begun anew."""

import errno

import numpy as np
import pytest

from engine.progress import history_of
from simulations import trials
from simulations.trials import Trials


@pytest.fixture(autouse=True)
def kept_at_once(monkeypatch):
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
    first = Trials(tmp_path, total=3, identity="m s")
    for name, value in (("a", 1.0), ("b", 2.0)):
        first.measure(name, measured(calls, name, value))
    # Killed here, with the third trial under way.
    second = Trials(tmp_path, total=3, identity="m s")
    values = [
        second.measure(n, measured(calls, n, v)) for n, v in zip("abc", (9, 9, 3), strict=True)
    ]
    assert calls == ["a", "b", "c"]
    assert [float(value[0]) for value in values] == [1.0, 2.0, 3.0]


def test_progress_counts_trials_and_never_goes_back_after_a_resume(tmp_path):
    first = Trials(tmp_path, total=2, identity="m s")
    first.measure("a", measured([], "a", 1.0))
    second = Trials(tmp_path, total=2, identity="m s")
    for name in "ab":
        second.measure(name, measured([], name, 1.0))
    text = "\n".join(lines_of(tmp_path))
    assert "resuming after 1 trials" in text
    assert history_of(tmp_path) is not None
    assert '"done":2' in text.replace(" ", "")


def test_a_long_trial_says_that_it_goes_on(tmp_path):
    begun = Trials(tmp_path, total=1, identity="m s")
    before = len(lines_of(tmp_path))
    begun.still_at("epsilon 0.1: restart 2 of 3")
    assert "restart 2 of 3" in lines_of(tmp_path)[before]


def test_trials_of_another_model_or_suite_are_measured_anew(tmp_path):
    calls: list[str] = []
    for identity, value in (("m s", 1.0), ("n s", 2.0), ("m s", 9.0)):
        values = Trials(tmp_path, total=1, identity=identity).measure(
            "a", measured(calls, "a", value)
        )
    assert (calls, values.tolist()) == (["a", "a"], [1.0])


def test_a_trial_that_was_written_by_half_is_measured_anew(tmp_path):
    Trials(tmp_path, total=1, identity="m s").measure("a", measured([], "a", 1.0))
    (file,) = (tmp_path / "trials").glob("*.npy")
    file.write_bytes(file.read_bytes()[:-3])
    (tmp_path / "trials" / "half.draft").write_bytes(b"half")

    again = Trials(tmp_path, total=1, identity="m s").measure("a", measured([], "a", 2.0))

    assert again.tolist() == [2.0]


@pytest.mark.parametrize("values", [np.array([True, False]), np.arange(6.0).reshape(2, 3) / 7])
def test_values_of_an_earlier_attempt_are_the_same_to_the_bit(tmp_path, values):
    Trials(tmp_path, total=1, identity="m s").measure("a", lambda: values)
    kept = Trials(tmp_path, total=1, identity="m s").measure("a", lambda: np.zeros(1))
    assert (kept.dtype, kept.tobytes(), kept.shape) == (
        values.dtype,
        values.tobytes(),
        values.shape,
    )


def test_a_full_disk_is_told_and_leaves_nothing_that_counts(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        Trials(tmp_path, total=1, identity="m s").measure("a", measured([], "a", 1.0))
    assert list((tmp_path / "trials").iterdir()) == []
