"""Parts of a search without Ray's processes: suggestions, budgets, and pictures."""

import pytest

from engine.checkpoints import CHECKPOINTS, CheckpointFolder
from engine.progress import ProgressLog
from engine.protocol import Refused, TryAgain
from projects.search import Search
from training.contract import TrainingSpec
from training.search.pictures import draw
from training.search.study import Study
from training.search.trial_runs import NoRuns

OVER = {
    "rate": {"log_uniform": [1e-4, 1e-1]},
    "kind": {"choice": [[1, 2], "a", None]},
    "depth": {"integer": [1, 9], "step": 2},
}


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def study_of(tmp_path, clock):
    """A study in a folder of that name; begun again, it goes on."""

    def make(name: str = "job", gpus: int = 0, hyperparameters=None, **more) -> Study:
        declared = {"over": OVER, "metric": "loss", "stop_early": False, "trials": 30, **more}
        (tmp_path / name).mkdir(exist_ok=True)
        spec = TrainingSpec(
            job=name,
            workdir=tmp_path / name,
            timeout_s=60,
            project="flowers",
            model="classifier",
            trainer="none:train",
            hyperparameters=hyperparameters or {},
            gpus_per_worker=gpus,
            search=Search.model_validate(declared),
            seed=3,
        )
        assert spec.search
        return Study(spec, spec.search, NoRuns(), lambda folder: True, clock)

    return make


def report(study: Study, trial, number: int, loss: float) -> bool:
    """Report as the trial's process does; whether the trial goes on."""
    log = ProgressLog(study.book.folder(trial.number), "report", None)
    log.report(number, metrics={"loss": loss})
    return study.report(trial.number, number, {"loss": loss})


def finish(study: Study, trial, loss: float) -> None:
    """Let the trial report and end well."""
    report(study, trial, 1, loss + 1)
    report(study, trial, 2, loss)
    checkpoint = study.book.folder(trial.number) / "made"
    checkpoint.mkdir()
    (checkpoint / "state").write_text(str(loss))
    CheckpointFolder(study.book.folder(trial.number) / CHECKPOINTS).save(checkpoint, 2)
    study.end(trial.number)


def loss_of(values) -> float:
    return (values["rate"] - 0.01) ** 2 + values["depth"]


def go_on(study: Study, trials: int) -> list[dict]:
    """Values of the next trials, which end one after the other, some of them badly."""
    suggested = []
    for _ in range(trials):
        trial = study.next()
        assert trial
        suggested.append(trial.values)
        if trial.number % 5 == 4:
            study.fail(trial.number, "it rained")
        else:
            finish(study, trial, loss_of(trial.values))
    return suggested


@pytest.mark.parametrize("kept", [0, 1, 7, 23])
def test_a_study_that_is_begun_again_suggests_what_it_would_have_suggested(study_of, kept):
    whole = go_on(study_of("whole"), 30)
    assert go_on(study_of("parts"), kept) == whole[:kept]
    # Lost in the middle of a trial.
    interrupted = study_of("parts").next()
    assert interrupted.values == whole[kept]
    study = study_of("parts")
    assert go_on(study, 30 - kept) == whole[kept:]
    assert study.is_over


def test_suggestions_get_better_than_chance(study_of):
    depths = [values["depth"] for values in go_on(study_of(), 30)]
    assert sum(depths[20:]) / 10 < sum(depths[:10]) / 10


def test_the_first_trial_has_the_declared_values(study_of):
    trial = study_of(hyperparameters={"depth": 7, "kind": None}).next()
    assert trial
    assert (trial.values["depth"], trial.values["kind"]) == (7, None)


def test_no_more_trials_run_at_once_than_may(study_of):
    study = study_of(at_once=2)
    assert study.next()
    assert study.next()
    assert study.next() is None
    assert not study.is_over


@pytest.mark.parametrize(
    ("budget", "says"),
    [({"time_s": 100}, "the budget of 100 s"), ({"gpu_h": 0.1}, "the budget of 0.1 GPU-hours")],
)
def test_a_budget_that_is_used_up_ends_the_study_with_the_best_so_far(
    study_of, clock, budget, says
):
    study = study_of(gpus=4, budget=budget)
    first = study.next()
    clock.now = 50
    finish(study, first, 2.0)
    # What was used before the study is begun again counts.
    study = study_of(gpus=4, budget=budget)
    second = study.next()
    clock.now = 101
    assert says in study.used_up
    report(study, second, 1, 1.0)
    study.close()
    assert study.trials[second.number].state == "stopped"
    assert study.require_best().number == first.number


def test_a_budget_before_the_first_trial_s_end_is_refused(study_of, clock):
    study = study_of(budget={"time_s": 5})
    study.next()
    clock.now = 6
    study.close()
    with pytest.raises(Refused, match="the budget of 5 s was used before one of 1 trials"):
        study.require_best()


def test_an_outage_of_a_trial_is_one_of_the_job(study_of):
    study = study_of()
    trial = study.next()
    with pytest.raises(TryAgain, match="trial 0: no space left"):
        study.fail(trial.number, "no space left", passes=True)
    assert study_of().next().values == trial.values


def test_a_report_that_nobody_took_up_counts_when_the_trial_goes_on(study_of):
    first = study_of(stop_early=True, trials=2)
    finish(first, first.next(), 1.0)
    second = first.next()
    log = ProgressLog(first.book.folder(second.number), "report", None)
    log.report(1, metrics={"loss": 99.0})
    again = study_of(stop_early=True, trials=2)
    trial = again.next()
    assert trial.number == second.number
    # It was worse at its first report, so its next one is its last.
    assert not report(again, trial, 2, 99.0)
    again.end(trial.number)
    assert again.trials[1].state == "stopped"


def test_a_trial_that_leaves_no_checkpoint_fails(study_of):
    study = study_of()
    trial = study.next()
    report(study, trial, 1, 1.0)
    study.end(trial.number)
    assert study.trials[0].reason == "it ended without reporting a checkpoint"


@pytest.mark.parametrize("ended", [1, 2, 5, 12])
def test_a_search_is_drawn_however_few_trials_it_has(study_of, tmp_path, ended):
    study = study_of()
    for _ in range(ended):
        finish(study, study.next(), 1.0)
    draw(study._search, study.trials, study.sampler.study, tmp_path)
    names = {file.name for file in tmp_path.glob("*.png")}
    assert {"search_best.png", "search_parallel.png"} <= names
