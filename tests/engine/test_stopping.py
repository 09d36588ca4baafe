"""What runs before a container ends: the engine is told, and waited for."""

import signal
import subprocess
import sys

import pytest

STOP = [sys.executable, "-m", "engine.stopping"]
ENDS = """
import signal, sys, time
signal.signal({number}, lambda *_: {then})
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def engine(tmp_path):
    """Starts a process that answers SIGTERM as it is told; its pid is in the file."""
    started = []

    def start(then: str) -> subprocess.Popen:
        code = ENDS.format(number=int(signal.SIGTERM), then=then)
        created = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        started.append(created)
        assert created.stdout
        created.stdout.readline()
        (tmp_path / "pid").write_text(str(created.pid))
        return created

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_engine_has_ended_when_the_wait_is_over(engine, tmp_path):
    process = engine("(time.sleep(0.3), sys.exit(7))")

    subprocess.run([*STOP, tmp_path / "pid", "30"], check=True)

    assert process.poll() == 7


def test_an_engine_that_does_not_end_is_not_waited_for_any_longer(engine, tmp_path):
    process = engine("None")

    subprocess.run([*STOP, tmp_path / "pid", "0.1"], check=True)

    assert process.poll() is None


@pytest.mark.parametrize("content", [None, "", "no number", "4194304"])
def test_an_engine_that_is_not_there_is_no_error(content, tmp_path):
    if content is not None:
        (tmp_path / "pid").write_text(content)

    subprocess.run([*STOP, tmp_path / "pid", "30"], check=True)
