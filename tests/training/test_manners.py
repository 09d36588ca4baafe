"""Trainers that do what people's trainers do: each ends well, or is refused in a sentence."""

import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

import training.evaluation
from engine import lease
from engine.output import MOST_BYTES
from engine.progress import history_of
from engine.protocol import Refused
from resources.compute.contract import Driver, JobRefused
from resources.settings import CHECKOUT
from tests.training.test_training import run
from tests.waiting import until

TRAINERS = '''
"""What people write."""
import ctypes, os, sys, threading, time
from pathlib import Path

import numpy as np, ray.train, torch
from concurrent.futures import ThreadPoolExecutor
from flowers_training import report, train as learn


def train_with(config, metrics):
    model = torch.nn.Linear(4, 3)
    report(model, metrics)


def exits_well(config):
    learn(config); sys.exit(0)


def exits_before_any_report(config):
    sys.exit(0)


def exits_with_a_code(config):
    sys.exit(3)


def misses_a_file(config):
    open("lookup_table.csv").read()


def fails_in_latin(config):
    sys.stdout.buffer.write(b"Gr\\xf6\\xdfe \\xff\\xfe\\n"); sys.stdout.flush()
    raise ValueError("Gr\\udcf6\\udcdfe is no size")


def prints_latin(config):
    sys.stdout.buffer.write(b"Gr\\xf6\\xdfe \\xff\\xfe\\n"); sys.stdout.flush(); learn(config)


def fills_its_memory(config):
    import resource
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
    kept = []
    while True: kept.append(np.ones(2**24, np.uint8))


def leaves_a_thread(config):
    threading.Thread(target=lambda: time.sleep(3000)).start(); learn(config)


def leaves_a_pool(config):
    import queue
    ThreadPoolExecutor(2).submit(queue.Queue().get); learn(config)


def leaves_a_process(config):
    if os.fork() == 0:
        time.sleep(3000); os._exit(0)
    learn(config)


def goes_on_as_its_copy(config):
    child = os.fork()
    learn(config)
    if child: os.waitpid(child, 0)


def loses_its_folder(config):
    import tempfile
    gone = tempfile.mkdtemp(); os.chdir(gone); os.rmdir(gone); learn(config)


def writes_where_it_is(config):
    Path("best.txt").write_text(config["me"])
    learn(config)
    if Path("best.txt").read_text() != config["me"]: raise RuntimeError("best.txt is another's")
    Path(config["into"]).write_text(os.getcwd())


def numbers_of_many_kinds(config):
    train_with(config, {"epoch": np.int64(1), "loss": np.float32(0.5), "acc": torch.tensor(0.25),
                        "mAP@0.5": 0.5, "note": "good", "pair": np.ones(2)})


def not_a_number(config):
    train_with(config, {"epoch": 1, "other": 1.0, "loss": np.float32("nan")})


def no_number_left(config):
    train_with(config, {"epoch": 1})


def nothing_reported(config):
    model = torch.nn.Linear(4, 3)
    train_with(config, {"note": "none", "epoch": 1})


def prints_much(config):
    print("first words"); 
    for i in range(200_000): print("batch", i, "x" * 100)
    learn(config); print("last words")


def one_output(config):
    report(torch.nn.Linear(4, 1), {"epoch": 1, "loss": 0.1})


def too_many_outputs(config):
    report(torch.nn.Linear(4, 10), {"epoch": 1, "loss": 0.1})
'''


@pytest.fixture
def job(flowers, spec_of):
    """Spec of a job of one of these trainers."""
    (flowers / "manners.py").write_text(TRAINERS)

    def make(function: str, **changes):
        return spec_of(trainer=f"manners:{function}", job=function, **changes)

    return make


@pytest.mark.parametrize(
    "function",
    [
        "exits_well",
        "prints_latin",
        "loses_its_folder",
        "goes_on_as_its_copy",
        "no_number_left",
        "nothing_reported",
    ],
)
def test_a_trainer_whose_manners_are_odd_ends_well_at_the_first_attempt(compute, job, function):
    lines = []
    result = run(compute, job(function), lines.append)
    assert result.artefact
    assert not [line for line in lines if line.unit == "attempt"]


@pytest.mark.parametrize("function", ["leaves_a_thread", "leaves_a_pool", "leaves_a_process"])
def test_the_result_ends_the_job_whatever_the_trainer_leaves_running(compute, job, function):
    spec = job(function)
    pids = set()
    result = run(compute, spec, lambda line: pids.add(line.metrics.get("pid")))
    assert result.artefact
    group = next(int(pid) for pid in pids if pid)
    until(lambda: not [p for p in psutil.pids() if _group_of(p) == group])
    assert lease.holder(spec.workdir) is None


def _group_of(pid: int) -> int | None:
    try:
        is_zombie = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        return None if is_zombie else os.getpgid(pid)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("exits_before_any_report", "without reporting a checkpoint"),
        ("exits_with_a_code", r"ended itself by sys.exit\(3\)"),
        ("misses_a_file", "FileNotFoundError.*lookup_table.csv"),
        ("fails_in_latin", r"Gr\\udcf6\\udcdfe is no size"),
        ("fills_its_memory", "MemoryError|cannot allocate|can't allocate"),
        ("not_a_number", "training diverged: loss is nan"),
        ("one_output", r"got outputs of shape \['rows', 1\] for 3 classes, expected \['rows', 3\]"),
        ("too_many_outputs", r"got outputs of shape \['rows', 10\] for 3 classes"),
    ],
)
def test_a_fault_of_the_trainer_is_refused_at_its_first_attempt(compute, job, function, says):
    lines = []
    with pytest.raises(JobRefused, match=says):
        run(compute, job(function), lines.append)
    assert not [line for line in lines if line.unit == "attempt"]


def test_numbers_of_numpy_and_torch_are_kept_and_what_is_no_number_is_named(compute, job):
    lines, spec = [], job("numbers_of_many_kinds")
    result = run(compute, spec, lines.append)
    expected = {"loss": 0.5, "acc": 0.25, "mAP_0.5": 0.5}
    measured = ("test_", "baseline_")
    assert {k: v for k, v in result.metrics.items() if not k.startswith(measured)} == expected
    assert history_of(spec.workdir)[-1] == {"step": 1, **expected}
    answer = " ".join(line.message for line in lines)
    assert "'mAP@0.5' is kept as 'mAP_0.5'" in answer
    assert "'note' is left out: got str 'good', expected one number" in answer
    assert "'pair' is left out" in answer


def test_two_jobs_at_once_never_share_the_files_of_their_trainers(compute, job, tmp_path):
    before = subprocess.run(
        ["git", "status", "--porcelain"], cwd=CHECKOUT, capture_output=True, check=True
    )
    folders = {}

    def work(name: str) -> None:
        into = tmp_path / f"{name}.txt"
        hyperparameters = {"me": name, "into": str(into), "epoch_s": 0.3}
        spec = job("writes_where_it_is", hyperparameters=hyperparameters)
        spec = spec.model_copy(update={"job": name, "workdir": compute.workdir(name)})
        spec.workdir.mkdir(parents=True)
        run(compute, spec)
        folders[name] = into.read_text()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(folders.values())) == 2
    assert all(not Path(folder).is_relative_to(CHECKOUT) for folder in folders.values())
    after = subprocess.run(
        ["git", "status", "--porcelain"], cwd=CHECKOUT, capture_output=True, check=True
    )
    assert before.stdout == after.stdout


def test_what_a_trainer_prints_is_shown_bounded_and_marked(compute, job):
    printed = []
    run(compute, job("prints_much"), on_output=printed.append)
    texts = [message.text for message in printed]
    shown_before = next(n for n, text in enumerate(texts) if "last words" in text)
    first = printed[: shown_before + 1]
    assert any("first words" in m.text or m.left_out for m in first)
    assert any("last words" in text for text in texts)
    assert all(len(text) < MOST_BYTES + 200 for text in texts)
    assert sum(message.left_out for message in printed) > 10_000_000


def test_output_is_shown_while_the_trainer_works(compute, job, flowers):
    (flowers / "manners.py").write_text(
        TRAINERS
        + "\n\ndef waits(config):\n    print('waiting')\n"
        + "    while not Path(config['until']).exists(): time.sleep(0.02)\n    learn(config)\n"
    )
    go = flowers / "go"
    spec = job("waits", hyperparameters={"until": str(go)})
    result = run(compute, spec, on_output=lambda m: "waiting" in m.text and go.touch())
    assert result.artefact


def test_a_job_whose_dagster_run_is_deleted_is_ended(compute, job):
    spec = job("writes_where_it_is", hyperparameters={"me": "x", "into": "y", "epoch_s": 600})
    with pytest.raises(JobRefused, match="its dagster_run was deleted"):
        run(compute, spec, driver=Driver("run", is_deleted=lambda: True))
    assert lease.holder(spec.workdir) is None


def test_a_model_that_gives_no_numbers_is_refused_and_not_measured(trained_here, iris, monkeypatch):
    scores_of = training.evaluation.scores_of

    def with_a_gap(*given):
        scores = scores_of(*given).copy()
        scores[3] = np.nan
        return scores

    monkeypatch.setattr(training.evaluation, "scores_of", with_a_gap)

    with pytest.raises(Refused, match="no finite number for 1 of 60 test rows"):
        trained_here("training.tables:train", iris, learner="linear", iterations=5)
