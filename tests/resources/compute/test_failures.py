"""How jobs of this machine fail: each failure has a cause, and rules of the log decide."""

import pytest

from engine.protocol import JobResult, JobSpec
from projects.log_rule import LogRule
from resources.compute import local
from resources.compute.contract import JobLost, JobRefused
from resources.compute.local import LocalCompute
from resources.compute.requirements import Requirements

ENGINE = """
import os, sys, threading
from pathlib import Path
from engine import lease
from engine.progress import ProgressLog
from engine.protocol import Diverged, JobResult, JobSpec, Refused, TryAgain, run_engine

class Counted(JobResult):
    attempts: int = 0

def wait_for_nobody():
    threading.Event().wait()

def work(spec):
    lease.hold(spec.workdir)
    lease.stop_when_abandoned(spec.workdir, spec.lease_s)
    counted = spec.workdir / "attempts"
    number = int(counted.read_text()) + 1 if counted.exists() else 1
    counted.write_text(str(number))
    how = spec.job.split("-")[0]
    ProgressLog(spec.workdir, "step", None).report(1)
    if how == "memory":
        raise MemoryError("no room for the rows")
    if how == "killed":
        os.kill(os.getpid(), 9)
    if how == "nan":
        raise Diverged("loss is nan")
    if how == "hung":
        wait_for_nobody()
    if how == "ecc" and number == 1:
        print("NVRM: Xid 63: uncorrectable ECC error", flush=True)
        raise Refused("the GPU is broken")
    if how == "away":
        print("the licence server says: no seat", flush=True)
        raise TryAgain("no licence")
    return Counted(attempts=number)

if __name__ == "__main__":
    sys.exit(run_engine(JobSpec, work, sys.argv))
"""


class Counted(JobResult):
    attempts: int = 0


@pytest.fixture
def compute(settings, tmp_path, monkeypatch):
    (tmp_path / "failing_engine.py").write_text(ENGINE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return LocalCompute(settings.state / "work", settings.warm_socket)


@pytest.fixture
def run(compute):
    def started(how: str, *rules: LogRule, stall_s: float = 600) -> Counted:
        spec = JobSpec(job=how, workdir=compute.workdir(how), timeout_s=600)
        wanted = Requirements(log_rules=rules)
        return compute.run(
            "failing_engine", spec, Counted, lambda line: None, stall_s=stall_s, requirements=wanted
        )

    return started


@pytest.mark.parametrize(
    ("how", "cause", "line"),
    [
        ("memory", "out_of_memory", "MemoryError: no room for the rows"),
        ("nan", "not_finite", "engine.protocol.Diverged: loss is nan"),
    ],
)
def test_a_failure_that_another_attempt_would_repeat_is_final_and_named(run, how, cause, line):
    with pytest.raises(JobRefused) as failed:
        run(how)
    assert failed.value.cause == cause
    assert failed.value.lines[-1] == line
    assert any("failing_engine.py" in line for line in failed.value.lines)


def test_a_killed_engine_is_a_lost_worker(run):
    with pytest.raises(JobLost, match="killed by signal 9") as failed:
        run("killed")
    assert failed.value.cause == "lost_worker"


def test_an_engine_that_the_kernel_killed_for_memory_ran_out_of_it(run, monkeypatch):
    kills = iter(range(100))
    monkeypatch.setattr(local, "memory_kills", lambda: next(kills))
    with pytest.raises(JobLost, match="because the machine had no memory left") as failed:
        run("killed")
    assert failed.value.cause == "out_of_memory"


def test_a_hung_job_leaves_the_stacks_of_its_threads(run):
    with pytest.raises(JobRefused, match="was stopped as hung") as failed:
        run("hung", stall_s=3)
    assert failed.value.cause == "hang"
    assert any("in wait_for_nobody" in line for line in failed.value.lines)


def test_a_rule_of_the_log_asks_for_another_attempt_after_a_final_failure(run):
    rule = LogRule(pattern="uncorrectable ECC", then="other_node")
    assert run("ecc-1", rule).attempts == 2
    with pytest.raises(JobRefused, match="the GPU is broken"):
        run("ecc-2", LogRule(pattern="correctable ecc$", then="retry"))


def test_a_rule_of_the_log_ends_a_job_that_would_be_tried_again(run, compute):
    rule = LogRule(pattern="no seat", then="stop")
    with pytest.raises(JobRefused, match="a log rule of the model says: stop") as failed:
        run("away", rule)
    assert failed.value.cause == "outage"
    assert (compute.workdir("away") / "attempts").read_text() == "1"


def test_a_rule_sees_the_log_of_the_attempt_that_failed_alone(run):
    # The first attempt prints what the rule looks for, the second does not, and ends well.
    rules = [
        LogRule(pattern="uncorrectable ECC", then="retry"),
        LogRule(pattern="Xid", then="stop"),
    ]
    assert run("ecc-3", *rules).attempts == 2


def test_a_pattern_that_is_none_is_refused_where_it_is_declared():
    with pytest.raises(ValueError, match="expected a regular expression"):
        LogRule(pattern="(", then="stop")
