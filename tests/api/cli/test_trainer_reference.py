"""The page of the shipped trainers says what their classes say."""

from api.cli.trainer_reference import markdown, shipped
from projects.loading import CHECKOUT


def test_every_hyperparameter_of_every_shipped_trainer_is_documented():
    kept = (CHECKOUT / "docs" / "trainers.md").read_text(encoding="utf-8")

    assert kept == markdown(), "run `orrery trainers > docs/trainers.md`"
    assert "|  |" not in kept, "a hyperparameter has no docstring"


def test_the_trainers_are_found_by_their_functions():
    assert {name for name, _ in shipped()} >= {
        "training.control:train",
        "training.finished.trainer:train",
        "training.hub:train",
        "training.tables:train",
        "training.vision:train",
    }
