"""What goes wrong in a search, and what becomes of it."""

import os
import signal
import time

import psutil
import pytest

from engine import lease
from resources.compute.contract import JobRefused
from tests.training.search.conftest import OVER, begun, trials_of
from tests.waiting import until
from training.search.trial import TrialBook


def test_a_killed_search_goes_on_with_the_trials_of_an_uninterrupted_one(
    search, searched, tmp_path
):
    hyperparameters = {"epochs": 3, "epoch_s": 0.2}
    untouched = search(searched("untouched", trials=14, hyperparameters=hyperparameters))
    log = tmp_path / "begun"
    spec = searched("killed", trials=14, hyperparameters={**hyperparameters, "log": str(log)})
    killed = []

    def kill_in_trial_11(line) -> None:
        if line.done == 11 and not killed:
            # Two epochs of the trial are begun, so there is a checkpoint.
            until(lambda: len(begun(log)) == 11 * 3 + 2)
            killed.append(lease.holder(spec.workdir))
            os.kill(killed[0], signal.SIGKILL)

    result = search(spec, kill_in_trial_11)
    assert killed
    assert result.resumed_from == 11
    columns = ("number", "values", "state", "value", "reports")
    assert [[row[name] for name in columns] for row in trials_of(result)] == [
        [row[name] for name in columns] for row in trials_of(untouched)
    ]
    assert result.search.values == untouched.search.values
    epochs = [(line["x"], line["epoch"]) for line in begun(log)]
    finished = [row["values"]["x"] for row in trials_of(result)[:11]]
    assert all(epochs.count((x, epoch)) == 1 for x in finished for epoch in (1, 2, 3))
    # The trial that was under way went on from its checkpoint.
    assert epochs.count((trials_of(result)[11]["values"]["x"], 1)) == 1


def test_some_trials_fail_and_the_search_goes_on(search, searched, tmp_path):
    over = {**OVER, "mood": {"choice": ["well", "raises", "diverges", "dies once"]}}
    once = str(tmp_path / "once")
    result = search(searched(over=over, trials=10, hyperparameters={"once": once}))
    rows = trials_of(result)
    for row in rows:
        fails = row["values"]["mood"] in ("raises", "diverges")
        assert row["state"] == ("failed" if fails else "finished"), row
    reasons = {row["values"]["mood"]: row["reason"] for row in rows}
    assert "the loss function met a unicorn" in reasons["raises"]
    assert "training diverged: validation_loss is nan" in reasons["diverges"]
    assert reasons["dies once"] == ""
    assert result.search.states == {
        state: sum(row["state"] == state for row in rows) for state in ("finished", "failed")
    }


def test_a_search_whose_every_trial_fails_is_refused_once_with_the_most_common_reason(
    search, searched
):
    spec = searched(trials=3, at_once=2, hyperparameters={"mood": "raises"})
    said = r"no trial of 3 finished.*3 of 3 that failed say: RuntimeError: the loss function met"
    with pytest.raises(JobRefused, match=said):
        search(spec)
    assert [trial.state for trial in TrialBook(spec.workdir).trials()] == ["failed"] * 3


def test_a_trial_that_always_loses_its_process_fails_after_three_attempts(search, searched):
    with pytest.raises(JobRefused, match="lost 3 times: its process ended without a word"):
        search(searched(trials=1, hyperparameters={"mood": "dies"}))


def test_a_metric_that_is_never_reported_is_refused_with_those_that_are(search, searched):
    said = r"does not report the search's metric 'validation_loss'.*'accuracy', 'epoch', 'loss'"
    with pytest.raises(JobRefused, match=said):
        search(searched(function="report_other_names", trials=50))


def test_a_budget_of_time_ends_the_search_with_the_best_so_far(search, searched):
    spec = searched(trials=2)
    first = search(spec)
    (spec.workdir / "result.json").unlink()
    worked_s = max(trial.after_s for trial in TrialBook(spec.workdir).trials())
    # A trainer that sleeps for longer than the budget is ended all the same.
    slow = {"epochs": 3, "epoch_s": 600}
    spec = searched(trials=500, budget={"time_s": worked_s + 15}, hyperparameters=slow)
    result = search(spec)
    assert result.search.best == first.search.best
    assert result.search.states["finished"] == 2
    reasons = [row["reason"] for row in trials_of(result) if row["state"] == "stopped"]
    assert len(reasons) <= 1
    assert all("the budget of" in reason for reason in reasons)


def test_trials_that_are_worse_than_others_are_stopped_early(search, searched):
    result = search(searched(trials=12, at_once=2, stop_early=True, hyperparameters={"epochs": 9}))
    rows = trials_of(result)
    stopped = [row for row in rows if row["state"] == "stopped"]
    assert stopped
    assert all(row["reports"] < 9 for row in stopped)
    assert all(row["reports"] == 9 for row in rows if row["state"] == "finished")


def test_an_interrupted_search_ends_in_seconds_and_leaves_no_process(search, searched):
    spec = searched(trials=5, at_once=2, hyperparameters={"epochs": 1000, "epoch_s": 0.1})
    since = []

    def interrupt(line) -> None:
        if line.message.startswith("trial 1: report"):
            since.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(spec, interrupt)
    assert time.monotonic() - since[0] < 30
    assert lease.holder(spec.workdir) is None

    def left() -> list[int]:
        """Processes that were started for the job: Ray names its workers by what they do."""
        processes = psutil.process_iter(["cmdline", "cwd"])
        return [
            p.pid
            for p in processes
            if str(spec.workdir) in " ".join([*(p.info["cmdline"] or []), p.info["cwd"] or ""])
        ]

    until(lambda: not left())
