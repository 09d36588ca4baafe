"""Several workers learn a language model: a real local Ray cluster, and gloo between them."""

from pathlib import Path

import pytest

from engine.checkpoints import CHECKPOINTS, CheckpointFolder
from engine.progress import history_of
from tests.training.tables import files_of, questions
from tests.training.tiny_networks import llama
from tests.waiting import PATIENCE_S
from training.contract import DatasetFiles, TrainingResult

WRITER = "training.language.writer:train"
DECLARED = {"learning_rate": 5e-3, "written": 8, "checkpoint_every_s": 0}
TOLERANCE = 1e-3
"""Share by which the loss may differ: gradients are added up in another order."""


@pytest.fixture
def asked(tmp_path) -> DatasetFiles:
    return files_of(
        questions(107),
        "answer",
        tmp_path / "asked",
        task="text-generation",
        split={"validation": 0.2},
    )


@pytest.fixture
def network(tmp_path) -> Path:
    table = questions(80).to_pylist()
    return llama(tmp_path / "llama", [w for row in table for t in row.values() for w in t.split()])


@pytest.fixture
def one_worker(spec_here, asked, network):
    """Trains on one worker, from a checkpoint where one is given; the curve of the loss."""

    def learn(epochs: int, first: tuple[int, Path] | None = None) -> tuple[list[float], Path]:
        from training.main import fit

        declared = {**DECLARED, "pretrained": str(network), "epochs": epochs, "batch_size": 16}
        spec = spec_here(WRITER, asked, declared)
        if first is not None:
            number, folder = first
            CheckpointFolder(spec.workdir / CHECKPOINTS).save(folder, number)
        checkpoint = fit(spec, use_gpu=False).checkpoint
        return [point["loss"] for point in history_of(spec.workdir)], checkpoint

    return learn


@pytest.fixture
def two_workers(compute, spec_of, asked, network):
    """Trains on two workers; the curve of the loss and the result."""

    def learn(epochs: int, follow=lambda line: None, **declared):
        hyperparameters = {**DECLARED, "pretrained": str(network), "epochs": epochs, **declared}
        spec = spec_of(
            workers=2,
            timeout_s=PATIENCE_S,
            trainer=WRITER,
            dataset=asked,
            hyperparameters=hyperparameters,
        )
        result = compute.run("training.main", spec, TrainingResult, follow, stall_s=PATIENCE_S)
        return [point["loss"] for point in history_of(spec.workdir)], result

    return learn


def test_two_workers_learn_what_one_does_whose_batches_are_as_large(one_worker, two_workers):
    alone, _ = one_worker(3)

    together, result = two_workers(3, batch_size=4, accumulate=2)

    assert together == pytest.approx(alone, rel=TOLERANCE)
    assert result.metrics["test_perplexity"] > 1


def test_workers_that_divide_the_weights_leave_what_one_goes_on_with(one_worker, two_workers):
    alone, before = one_worker(2)
    whole, _ = one_worker(4, first=(2, before))

    together, result = two_workers(2, batch_size=8, shard=True, lora=None)
    further, _ = one_worker(4, first=(2, result.checkpoint))

    assert together == pytest.approx(alone, rel=TOLERANCE)
    assert len(further) == 2
    assert further == pytest.approx(whole, rel=TOLERANCE)
    assert result.metrics["test_perplexity"] == pytest.approx(
        result.metrics["validation_perplexity"], rel=0.5
    )
