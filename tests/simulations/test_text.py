"""The text suite changes held-out texts by degrees, on any model that takes them."""

import numpy as np
import pytest

from engine.protocol import Refused
from projects.suite_kinds import read_suite
from simulations.contract import SimulationSpec
from simulations.kinds.text import CHANGES, _chosen
from simulations.main import simulate
from tests.training.tables import files_of, opinions
from training.contract import TrainingSpec
from training.main import fit, gather

TEXT = "The wine is deep and dark and it smells of tar and roses"


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_grows_with_its_level_and_is_the_same_for_a_seed(change):
    def changed(level: float) -> str:
        return CHANGES[change](TEXT, level, np.random.default_rng(3), "another note of plum")

    assert changed(0.5) == changed(0.5)
    assert changed(0.0) == TEXT
    assert changed(0.9) != TEXT


def test_changes_do_what_they_are_named_after():
    generator = np.random.default_rng(0)

    assert CHANGES["upper_case"]("a b", 1.0, generator, "") == "A B"
    assert CHANGES["cut"]("a b c d", 0.5, generator, "") == "a b"
    assert CHANGES["cut"]("a", 1.0, generator, "") == "a"
    assert CHANGES["lost_words"]("a b c", 1.0, generator, "") == ""
    added = CHANGES["padding"]("a b", 1.0, generator, "c d e").split()[2:]
    assert len(added) == 2
    assert set(added) < {"c", "d", "e"}


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """A model of opinions in a sentence, trained by the shipped trainer, and its held-out rows."""
    folder = tmp_path_factory.mktemp("reviews")
    dataset = files_of(opinions(400), "opinion", folder)
    spec = TrainingSpec(
        job="reviews",
        workdir=folder / "work",
        timeout_s=60,
        project="cinema",
        model="opinion",
        trainer="training.tables:train",
        hyperparameters={"learner": "linear", "iterations": 200},
        seed=1,
        dataset=dataset,
    )
    return gather(spec, fit(spec, use_gpu=False), "cpu"), dataset


@pytest.fixture
def measured(reviews, tmp_path):
    """Runs the suite on the model of the reviews, and gives its measurements."""

    def measure(**fields):
        trained, dataset = reviews
        spec = SimulationSpec(
            job="text",
            workdir=tmp_path / "work",
            timeout_s=60,
            project="cinema",
            simulation="slips",
            model="opinion",
            suite=read_suite({"kind": "text", **fields}).model_dump(mode="json"),
            artefact=trained.artefact,
            artefact_digest=trained.artefact_digest,
            rows=dataset.test,
            label=dataset.label,
        )
        return simulate(spec)

    return measure


def test_texts_are_changed_by_degrees(measured):
    result = measured(measure=["accuracy"])

    by_name = {m.scenario: m for m in result.evidence.measurements}
    assert by_name["clean"].estimate > 0.95
    assert by_name["typos 0.1"].estimate <= by_name["clean"].estimate
    assert by_name["cut 0.5"].estimate < by_name["clean"].estimate
    gated = {name for name, m in by_name.items() if m.gated}
    assert {"typos 0.02", "padding 0.25"} <= gated
    assert "typos 0.05" not in gated
    assert "accuracy_against_level.png" in {picture.name for picture in result.pictures}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"columns": ["txet"]}, "the suite changes 'txet', no text column; did you mean 'text'"),
        ({"measure": ["rmse"]}, "the suite measures 'rmse', and the model is for classification"),
    ],
)
def test_a_text_or_metric_that_is_not_there_is_named(measured, fields, says):
    with pytest.raises(Refused, match=says):
        measured(**fields)


def test_a_model_without_a_text_is_refused():
    with pytest.raises(Refused, match="the model takes no text column"):
        _chosen([], [])
