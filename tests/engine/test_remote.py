"""An engine on another machine: what it takes up, and what it leaves when it is stopped."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from engine.artefact import seal
from engine.attempt import Attempt
from engine.bucket import Bucket
from engine.growing_file import GrowingReader
from engine.remote import Mirror
from engine.trial_folder import TRIALS, TrialFolder
from resources.settings import CHECKOUT
from tests import buckets
from tests.waiting import PATIENCE_S, until

MODULE = "tests.cluster.counting"


@pytest.fixture
def bucket(monkeypatch):
    return Bucket(f"{buckets.make_bucket(monkeypatch)}/jobs/j1")


@pytest.fixture
def start(bucket):
    """Starts the job on this machine."""
    started = []

    def start(**fields) -> subprocess.Popen:
        spec = {"job": "j1", "workdir": "workdir://", "timeout_s": 60, **fields}
        bucket.put("spec.json", json.dumps(spec).encode())
        bucket.put("lease", b"1")
        command = [sys.executable, "-m", "engine.remote", bucket.uri, MODULE, "60"]
        created = subprocess.Popen(command, cwd=CHECKOUT)
        started.append(created)
        return created

    yield start
    for process in started:
        process.kill()
        process.wait()


def put_checkpoint(bucket, tmp_path, step, *, is_whole):
    folder = tmp_path / f"{step:06d}"
    folder.mkdir()
    (folder / "count").write_text(str(step))
    if is_whole:
        seal(folder)
    bucket.upload_folder(folder, f"checkpoints/{folder.name}")


def test_a_checkpoint_that_was_copied_by_half_is_not_taken_up(bucket, start, tmp_path):
    put_checkpoint(bucket, tmp_path, 3, is_whole=True)
    put_checkpoint(bucket, tmp_path, 4, is_whole=False)

    assert start(steps=6).wait(PATIENCE_S) == 0

    assert json.loads(bucket.get("result.json"))["first"] == 3


def test_an_engine_that_is_asked_twice_to_stop_copies_what_it_reached(bucket, start):
    process = start(steps=600, step_s=0.05)
    until(lambda: GrowingReader(bucket, "progress.jsonl").read())

    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE_S) == 143
    steps = GrowingReader(bucket, "progress.jsonl").read().splitlines()
    copied = {key.split("/")[1] for key, _ in bucket.walk("checkpoints/") if "manifest" in key}
    assert len(copied) >= len(steps) - 1


def test_a_job_whose_result_is_there_is_not_run_again(bucket, start):
    bucket.put("result.json", b'{"failure": null}')

    assert start(steps=600, step_s=1).wait(PATIENCE_S) == 0

    assert GrowingReader(bucket, "progress.jsonl").read() == b""


def test_trials_that_an_attempt_measured_are_there_for_the_next_one(bucket, tmp_path, monkeypatch):
    bucket.put("spec.json", b'{"workdir": "workdir://"}')
    uploads, upload = [], Bucket.upload
    monkeypatch.setattr(
        Bucket, "upload", lambda self, file, key: uploads.append(key) or upload(self, file, key)
    )

    def attempt(name):
        workdir = tmp_path / name
        workdir.mkdir()
        mirror = Mirror(bucket, workdir, Attempt.of_environment().begin(bucket))
        mirror.fetch()
        return mirror, TrialFolder(workdir / TRIALS, "m s")

    mirror, trials = attempt("first")
    trials.keep("calm", np.arange(3) / 7)
    mirror.copy()
    trials.keep("windy", np.arange(2))
    mirror.copy()

    mirror, trials = attempt("second")
    assert trials.get("calm").tobytes() == (np.arange(3) / 7).tobytes()
    assert trials.get("windy").tolist() == [0, 1]
    trials.keep("stormy", np.zeros(1))
    mirror.copy()
    assert len([key for key in uploads if key.startswith(TRIALS)]) == 3
    assert len(list(bucket.walk(f"{TRIALS}/"))) == 3


def test_trials_of_a_search_that_have_ended_are_there_for_the_next_attempt(bucket, tmp_path):
    bucket.put("spec.json", b'{"workdir": "workdir://"}')

    def attempt(name):
        workdir = tmp_path / name
        workdir.mkdir()
        mirror = Mirror(bucket, workdir, Attempt.of_environment().begin(bucket))
        mirror.fetch()
        return mirror, workdir / "search" / "0000"

    mirror, trial = attempt("first")
    trial.mkdir(parents=True)
    (trial / "trial.json").write_text('{"state": "running"}')
    mirror.copy()
    (trial / "progress.jsonl").write_text("{}\n")
    (trial / "trial.json").write_text('{"state": "finished"}')
    (trial / "checkpoints").mkdir()
    (trial / "checkpoints" / "state").write_text("large")
    mirror.copy()

    _, trial = attempt("second")
    assert (trial / "trial.json").read_text() == '{"state": "finished"}'
    assert (trial / "progress.jsonl").read_text() == "{}\n"
    assert not (trial / "checkpoints").exists()
