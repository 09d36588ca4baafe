"""Searches as declared: what is refused before anything starts, with its place."""

import pytest

from projects.loading import load_project
from projects.search import Range, Search, known_goal

TRAINER = """\
from typing import Literal
from pydantic import BaseModel, Field

class Hyperparameters(BaseModel):
    epochs: int = Field(ge=1)
    rate: float = Field(default=0.1, gt=0, le=1)
    width: int = 32
    kind: Literal["plain", "deep"] = "plain"

def train(config): ...
"""
MODEL = """\
  singer:
    trainer: birdsong:train
    dataset: songs
"""


@pytest.fixture
def faults_of(project_file, declaration, problems_of):
    """Places and messages of what is wrong with a search of the project's model."""
    (project_file.parent / "birdsong.py").write_text(TRAINER)

    def faults(search: str, more: str = "    hyperparameters: {epochs: 3}\n") -> dict[str, str]:
        model = f"{MODEL}{more}    search: {search}\n"
        problems = problems_of(declaration.replace(MODEL, model))
        return {
            problem.path.removeprefix("models.singer."): problem.message for problem in problems
        }

    return faults


def test_a_search_is_declared_beside_hyperparameters(project_file, declaration):
    (project_file.parent / "birdsong.py").write_text(TRAINER)
    search = """{over: {rate: {log_uniform: [1.0e-4, 1]}, width: {integer: [16, 64], step: 16},
      kind: {choice: [plain, deep]}}, metric: validation_loss, trials: 8}"""
    more = "    hyperparameters: {epochs: 3}\n"
    project_file.write_text(declaration.replace(MODEL, f"{MODEL}{more}    search: {search}\n"))
    declared = load_project(project_file).declaration.models["singer"].search
    assert declared
    assert declared.aim == "min"
    assert declared.over["width"].ends == [16, 64]
    assert declared.over["kind"].ends == ["plain", "deep"]


@pytest.mark.parametrize(
    ("over", "place", "says"),
    [
        ("{rate: {uniform: [0, 1]}}", "search.over.rate.uniform", "greater than 0"),
        ("{rate: {uniform: [0.1, 2]}}", "search.over.rate.uniform", "less than or equal to 1"),
        ("{width: {uniform: [1, 2.5]}}", "search.over.width.uniform", "valid integer"),
        ("{kind: {choice: [plain, depe]}}", "search.over.kind.choice", "'plain' or 'deep'"),
        ("{raet: {uniform: [0.1, 1]}}", "search.over.raet.uniform", "did you mean 'rate'"),
        ("{rate: {uniform: [1, 1]}}", "search.over.rate", "low end below the high end"),
        ("{rate: {log_uniform: [0, 1]}}", "search.over.rate", "ends above 0"),
        ("{rate: {uniform: [0.1, 1], integer: [1, 2]}}", "search.over.rate", "exactly one of"),
        ("{rate: {}}", "search.over.rate", "got no range"),
        ("{kind: {choice: [plain, plain]}}", "search.over.kind", "'plain' twice"),
        ("{rate: {log_uniform: [0.1, 1], step: 0.1}}", "search.over.rate", "uniform or integer"),
        ("{rate: {uniform: [0.1, 0.2], step: 1}}", "search.over.rate", "expected at most"),
        ("{seed: {integer: [1, 2]}}", "search.over.seed", "the platform fills"),
        ("{}", "search.over", "at least 1"),
    ],
)
def test_a_range_that_no_trial_can_meet_is_refused_at_its_place(faults_of, over, place, says):
    faults = faults_of(f"{{over: {over}, metric: validation_loss}}")
    assert list(faults) == [place]
    assert says in faults[place]


@pytest.mark.parametrize(
    ("search", "place", "says"),
    [
        ("{over: {rate: {uniform: [0.1, 1]}}, metric: test_accuracy}", "search", "judge the model"),
        ("{over: {rate: {uniform: [0.1, 1]}}, metric: shine}", "search", "expected goal: min"),
        ("{over: {rate: {uniform: [0.1, 1]}}}", "search.metric", "missing"),
        (
            "{over: {epochs: {integer: [4, 9]}}, metric: loss}",
            "hyperparameters.epochs",
            "first trial",
        ),
    ],
)
def test_a_search_without_a_usable_metric_or_first_trial_is_refused(faults_of, search, place, says):
    faults = faults_of(search)
    assert list(faults) == [place]
    assert says in faults[place]


def test_a_trial_of_several_workers_is_refused(faults_of):
    more = "    hyperparameters: {epochs: 3}\n    resources: {workers: 2}\n"
    faults = faults_of("{over: {rate: {uniform: [0.1, 1]}}, metric: loss}", more)
    assert "search.at_once" in faults["resources.workers"]


@pytest.mark.parametrize(
    ("metric", "goal"),
    [
        ("validation_loss", "min"),
        ("validation_log_loss", "min"),
        ("accuracy", "max"),
        ("validation_macro_f1", "max"),
        ("return", "max"),
        ("glossy", None),
    ],
)
def test_the_goal_is_known_by_the_name_of_the_metric(metric, goal):
    assert known_goal(metric) == goal


def test_a_step_ends_at_the_last_value_that_it_reaches():
    assert Range.model_validate({"uniform": [0, 1], "step": 0.3}).ends == pytest.approx([0, 0.9])
    assert Range.model_validate({"integer": [1, 10], "step": 4}).ends == [1, 9]
    assert Range.model_validate({"uniform": [0, 0.3], "step": 0.1}).ends[1] == pytest.approx(0.3)


def test_what_a_job_gives_is_not_searched_over():
    search = Search.model_validate(
        {"over": {"a": {"integer": [1, 2]}, "b": {"integer": [1, 2]}}, "metric": "loss"}
    )
    narrowed = search.without({"a": 1})
    assert narrowed
    assert list(narrowed.over) == ["b"]
    assert search.without({"a": 1, "b": 2}) is None
