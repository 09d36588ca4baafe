import os
import signal

import numpy as np
import onnxruntime
import pytest

from engine.artefact import sha256_of, verify
from engine.progress import history_of
from resources.compute.contract import JobLost, JobRefused
from training.contract import TrainingResult


def run(compute, spec, on_progress=lambda line: None, **more) -> TrainingResult:
    return compute.run("training.main", spec, TrainingResult, on_progress, **more)


def test_a_trained_model_is_exported_evaluated_and_drawn(compute, spec_of):
    result = run(compute, spec_of())
    assert result.metrics["test_accuracy"] > 0.9
    assert verify(result.artefact, result.artefact_digest)
    assert {p.name for p in result.pictures} == {
        "calibration.png",
        "confusion_matrix.png",
        "curves.png",
        "roc_and_pr.png",
    }
    assert result.signature.classes == ["0", "1", "2"]


def test_the_artefact_needs_no_training_code(compute, spec_of):
    result = run(compute, spec_of())
    session = onnxruntime.InferenceSession(result.artefact / "model.onnx")
    rows = np.zeros((5, 4), np.float32)
    assert session.run(None, {session.get_inputs()[0].name: rows})[0].shape == (5, 3)


def test_the_same_seed_gives_the_same_weights(compute, spec_of):
    first, second = (run(compute, spec_of(job=job)) for job in ("one", "two"))
    assert sha256_of(first.artefact / "model.onnx") == sha256_of(second.artefact / "model.onnx")


def test_progress_tells_how_far_it_is_and_how_long_is_left(compute, spec_of):
    lines = []
    run(compute, spec_of(hyperparameters={"epoch_s": 0.1}), lines.append)
    assert [line.done for line in lines] == [0, 1, 2, 3]
    assert lines[-1].total == 3
    assert lines[1].left_s > 0.1
    assert "loss" in lines[-1].metrics


def test_a_killed_trainer_resumes_and_ends_where_it_would_have_ended(compute, spec_of):
    untouched = run(compute, spec_of(job="untouched", hyperparameters={"epochs": 6}))
    killed = []

    def kill_once(line) -> None:
        if line.metrics.get("epoch") is None and line.done == 3 and not killed:
            killed.append(int(line.metrics["pid"]))
            os.kill(killed[0], signal.SIGKILL)

    spec = spec_of(job="killed", hyperparameters={"epochs": 6, "epoch_s": 0.2})
    resumed = run(compute, spec, kill_once)
    assert killed
    assert resumed.resumed_from >= 2
    assert resumed.reports == 6
    same = [sha256_of(r.artefact / "model.onnx") for r in (untouched, resumed)]
    assert same[0] == same[1]
    assert [point["step"] for point in history_of(spec.workdir)] == [1, 2, 3, 4, 5, 6]


def test_a_finished_job_is_not_trained_again(compute, spec_of):
    spec = spec_of()
    first = run(compute, spec)
    assert run(compute, spec, lambda line: pytest.fail(f"worked again: {line}")) == first


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("explode", "the loss function met a unicorn"),
        ("diverge", "training diverged: loss is nan"),
        ("forget_checkpoint", "without reporting a checkpoint"),
        ("missing", "cannot be imported"),
    ],
)
def test_a_trainer_that_cannot_work_is_refused_with_its_reason(compute, spec_of, function, says):
    with pytest.raises(JobRefused, match=says):
        run(compute, spec_of(function))


def test_a_trainer_that_never_reports_is_stopped_as_hung(compute, spec_of):
    spec = spec_of("stay_silent")
    with pytest.raises(JobRefused, match="reported nothing for 3 s"):
        run(compute, spec, stall_s=3)
    from engine import lease

    assert lease.holder(spec.workdir) is None


def test_a_trainer_that_dies_every_time_is_lost_after_three_attempts(compute, spec_of):
    with pytest.raises(JobLost, match=r"killed by signal 9[\s\S]*after 3 attempts"):
        run(compute, spec_of("die"))


def test_a_job_that_takes_too_long_is_stopped(compute, spec_of):
    spec = spec_of(timeout_s=4, hyperparameters={"epochs": 1000, "epoch_s": 0.2})
    with pytest.raises(JobRefused, match="longer than 4 s"):
        run(compute, spec)


def test_an_interrupted_driver_leaves_no_engine(compute, spec_of):
    from engine import lease

    spec = spec_of(hyperparameters={"epochs": 1000, "epoch_s": 0.1})

    def interrupt(line) -> None:
        if line.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(compute, spec, interrupt)
    assert lease.holder(spec.workdir) is None


def test_a_new_driver_adopts_the_engine_that_runs(compute, spec_of):
    import subprocess
    import sys

    spec = spec_of(hyperparameters={"epochs": 8, "epoch_s": 0.3})
    spec.write()
    engine = subprocess.Popen(
        [sys.executable, "-m", "training.main", str(spec.workdir / "spec.json")],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    progress = spec.workdir / "progress.jsonl"
    while not progress.exists():
        assert engine.poll() is None
    pids = set()
    result = run(compute, spec, lambda line: pids.add(line.metrics.get("pid")))
    assert result.reports == 8
    assert pids - {None} == {float(engine.pid)}
    engine.wait(10)
