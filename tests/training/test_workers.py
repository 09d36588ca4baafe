"""Several workers: a real local Ray cluster."""

import os
import signal

import psutil
import pytest

from engine.progress import history_of
from engine.rows import count_rows
from tests.waiting import PATIENCE_S
from training.contract import TrainingResult

HYPERPARAMETERS = {"epochs": 4, "epoch_s": 0.5, "count_rows": True}


def test_two_workers_train_resume_and_leave_no_ray_behind(compute, spec_of):
    killed = []

    def kill_once(line) -> None:
        if line.metrics.get("epoch", line.done) == 2 and "pid" in line.metrics and not killed:
            killed.append(int(line.metrics["pid"]))
            os.kill(killed[0], signal.SIGKILL)

    spec = spec_of(workers=2, timeout_s=PATIENCE_S, hyperparameters=HYPERPARAMETERS)
    result = compute.run("training.main", spec, TrainingResult, kill_once, stall_s=PATIENCE_S)
    assert killed
    assert result.reports == 4
    assert result.metrics["test_accuracy"] > 0.9
    assert result.metrics["rows"] == count_rows(spec.dataset.train) // 2
    ray = [
        p
        for p in psutil.process_iter(["cmdline"])
        if str(spec.workdir) in " ".join(p.info["cmdline"] or [])
    ]
    assert ray == []


def test_two_workers_go_on_from_the_checkpoint_of_one(compute, spec_of):
    def run(spec) -> TrainingResult:
        return compute.run("training.main", spec, TrainingResult, print, stall_s=PATIENCE_S)

    one = run(spec_of(timeout_s=PATIENCE_S))
    start = {"start": one.checkpoint, "start_reports": one.reports}
    epochs = {"epochs": one.reports + 2}
    spec = spec_of(job="on", workers=2, timeout_s=PATIENCE_S, hyperparameters=epochs, **start)
    two = run(spec)
    first = one.reports + 1
    assert [point["step"] for point in history_of(spec.workdir)] == [first, first + 1]
    assert two.metrics["loss"] <= one.metrics["loss"]


@pytest.mark.parametrize(
    ("workers", "ray_address", "expected"),
    [(2, "auto", True), (2, None, False), (1, "auto", False)],
)
def test_workers_of_a_cluster_have_the_gpus_that_the_machine_of_the_job_lacks(
    workers, ray_address, expected, spec_of, monkeypatch
):
    import torch

    from training.main import is_on_gpus

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    spec = spec_of(workers=workers, gpus_per_worker=1, ray_address=ray_address)

    assert is_on_gpus(spec) is expected
