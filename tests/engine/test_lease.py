import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest

from engine import lease


def test_a_process_that_only_asks_for_the_holder_keeps_no_engine_from_starting(tmp_path):
    (tmp_path / "engine.lock").touch()
    with (tmp_path / "engine.lock").open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (asking, fcntl.LOCK_UN)).start()
        os.close(lease.hold(tmp_path))


def test_a_held_work_directory_names_its_holder(tmp_path):
    descriptor = lease.hold(tmp_path)
    assert lease.holder(tmp_path) == os.getpid()
    os.close(descriptor)


def test_a_deployed_work_directory_has_no_holder(tmp_path):
    os.close(lease.hold(tmp_path))
    assert lease.holder(tmp_path) is None


def test_a_second_process_is_refused_the_work_directory(tmp_path):
    descriptor = lease.hold(tmp_path)
    with pytest.raises(lease.AlreadyRunning):
        lease.hold(tmp_path)
    os.close(descriptor)


def test_an_engine_without_a_driver_ends_itself(tmp_path):
    lease.renew(tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from engine import lease;"
        "lease.stop_when_abandoned(Path(sys.argv[1]), 0.2); time.sleep(60)"
    )
    engine = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True)
    assert engine.wait(20) in (-signal.SIGTERM, -signal.SIGKILL)
