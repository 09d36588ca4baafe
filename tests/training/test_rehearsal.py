"""The dry run before a training says in seconds what hours would end with, and nothing else."""

import psutil
import pytest

from engine.rows import read_rows
from resources.compute.contract import JobRefused
from tests.training.test_training import run
from training import rehearsal

PLACE = "lab.yaml:7: models.classifier.trainer: "
TRAINERS = '''
"""Trainers with many epochs, each of which takes long."""
import os, time

import torch
from flowers_training import report


def slow(config, outputs=3, epochs_needed=1):
    if os.environ.get("ENDLESS"):
        time.sleep(3600)
    for epoch in range(1, config["epochs"] + 1):
        if config["epochs"] > 1:
            time.sleep(config.get("epoch_s", 0))
        if epoch >= epochs_needed:
            report(torch.nn.Linear(4, outputs), {"epoch": epoch, "loss": 1.0})


def one_output(config):
    slow(config, outputs=1)


def too_wide(config):
    slow(config, outputs=10)


def saves_late(config):
    slow(config, epochs_needed=2)


def scales_by_test_rows(config):
    from training.data import split_arrays

    split_arrays(config["dataset"], "test")[0].mean(axis=0)
    slow(config)


def looks_for_test_rows(config):
    if config["dataset"].get("test"):
        slow(config)


def needs_many_rows(config):
    import pyarrow.parquet as pq

    rows = pq.ParquetDataset(config["dataset"]["train"]).read().num_rows
    assert rows > 70, "expected more rows"
    slow(config)
'''


@pytest.fixture
def trainer(flowers):
    (flowers / "slow_trainers.py").write_text(TRAINERS)
    return lambda name: f"slow_trainers:{name}"


@pytest.mark.parametrize("name", ["one_output", "too_wide"])
def test_a_model_that_could_not_be_used_is_refused_before_it_is_trained(
    compute, spec_of, trainer, name
):
    hyperparameters = {"epochs": 50, "epoch_s": 60}
    spec = spec_of(hyperparameters=hyperparameters, trainer=trainer(name))
    spec = spec.model_copy(update={"dry_run": True, "declared_at": PLACE})
    with pytest.raises(JobRefused, match=r"expected \['rows', 3\]") as refused:
        run(compute, spec)
    assert PLACE in str(refused.value) and "found by a dry run of one epoch" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "dry_run"), [("scales_by_test_rows", True), ("looks_for_test_rows", False)]
)
def test_a_feature_step_that_leaks_the_test_split_is_refused(
    name, dry_run, compute, spec_of, trainer
):
    spec = spec_of(trainer=trainer(name)).model_copy(update={"dry_run": dry_run})
    says = r'reads config\["dataset"\]\["test"\].* declare split: \{validation: 0.1\}'
    with pytest.raises(JobRefused, match=says) as refused:
        run(compute, spec)
    assert ("found by a dry run" in str(refused.value)) == dry_run


@pytest.mark.parametrize("name", ["slow", "saves_late", "needs_many_rows"])
def test_what_more_epochs_or_rows_would_mend_is_not_judged(compute, spec_of, trainer, name):
    spec = spec_of(trainer=trainer(name)).model_copy(update={"dry_run": True})
    assert run(compute, spec).reports > 0
    log = (spec.workdir / "engine.log").read_text()
    assert "dry run: " in log and "fits" in log


def test_a_trainer_that_does_not_end_is_not_judged_and_leaves_no_process(
    spec_of, trainer, monkeypatch, capfd
):
    monkeypatch.setattr(rehearsal, "LONGEST_S", 8.0)
    monkeypatch.setenv("ENDLESS", "1")
    before = set(psutil.pids())
    rehearsal.rehearse(spec_of(trainer=trainer("slow")))
    assert "fits" in capfd.readouterr().out
    left = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    assert not [p for p in left if "training.rehearsal" in p.cmdline()]


def test_a_dry_run_sees_few_rows_of_everywhere_in_the_data(spec_of):
    spec = spec_of()
    cut = rehearsal._few_rows(spec, spec.workdir / "dry-run")
    labels = read_rows(cut.train, [cut.label]).column(0).to_pylist()
    assert len(labels) <= rehearsal.ROWS
    assert set(map(str, labels)) == set(spec.dataset.classes)
