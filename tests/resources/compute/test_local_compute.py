import psutil
import pytest

from engine.protocol import JobResult, JobSpec
from resources.compute.local import LocalCompute
from tests.waiting import until

ENGINE = """
import os, sys
from engine import lease
from engine.protocol import JobResult, JobSpec, run_engine

class Named(JobResult):
    pid: int = 0

def work(spec):
    lease.hold(spec.workdir)
    lease.stop_when_abandoned(spec.workdir, spec.lease_s)
    return Named(pid=os.getpid())

if __name__ == "__main__":
    sys.exit(run_engine(JobSpec, work, sys.argv))
"""


class Named(JobResult):
    pid: int = 0


@pytest.fixture
def compute(settings, tmp_path, monkeypatch):
    (tmp_path / "naming_engine.py").write_text(ENGINE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return LocalCompute(settings.state / "work", settings.warm_socket)


def children() -> list[psutil.Process]:
    alive = [c for c in psutil.Process().children() if c.status() != psutil.STATUS_ZOMBIE]
    return [c for c in alive if "naming_engine" in " ".join(c.cmdline())]


def test_an_engine_that_loaded_while_its_job_was_prepared_runs_it(compute):
    spec = JobSpec(job="j", workdir=compute.workdir("j"), timeout_s=60)
    with compute.loading("naming_engine", "j"):
        (loading,) = until(children)
        result = compute.run("naming_engine", spec, Named, lambda line: None)
    assert result.pid == loading.pid


def test_an_engine_whose_job_was_never_ready_is_stopped(compute):
    with pytest.raises(ValueError, match="no dataset"), compute.loading("naming_engine", "j"):
        (loading,) = until(children)
        raise ValueError("no dataset")
    assert not loading.is_running() or loading.status() == psutil.STATUS_ZOMBIE


def test_a_job_without_preparation_starts_its_own_engine(compute):
    spec = JobSpec(job="j", workdir=compute.workdir("j"), timeout_s=60)
    assert compute.run("naming_engine", spec, Named, lambda line: None).pid > 0
