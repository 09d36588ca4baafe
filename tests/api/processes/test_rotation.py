"""Logs of running processes stay short."""

import subprocess
import sys

from api.processes.rotation import Rotation

WRITER = """
import sys
for line in sys.stdin:
    print(line.strip() * 100, flush=True)
"""


def writer(log):
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", WRITER],
            stdin=subprocess.PIPE,
            stdout=output,
            text=True,
            bufsize=1,
        )


def written(process, log, text):
    from tests.waiting import until

    process.stdin.write(f"{text}\n")
    until(lambda: f"{text * 100}\n" in log.read_text())


def test_a_log_that_grew_too_long_goes_on_in_place_and_the_earlier_one_is_kept(tmp_path):
    log = tmp_path / "processes" / "gateway.log"
    log.parent.mkdir()
    with writer(log) as process:
        written(process, log, "ab")
        Rotation(tmp_path, longest_bytes=150).look()
        assert log.read_bytes() == b""

        written(process, log, "cd")
        assert log.stat().st_size == 201
        assert log.with_name("gateway.log.1").read_text() == f"{'ab' * 100}\n"

        Rotation(tmp_path, longest_bytes=150).look()
        assert log.with_name("gateway.log.1").read_text() == f"{'cd' * 100}\n"
        process.stdin.close()


def test_a_short_log_is_left_and_logs_of_services_are_bounded_too(tmp_path):
    short = tmp_path / "processes" / "gateway.log"
    long = tmp_path / "services" / "flowers.api" / "logs" / "v1-abc-s0.log"
    for file, size in ((short, 10), (long, 1000)):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * size)

    Rotation(tmp_path, longest_bytes=100).look()

    assert short.stat().st_size == 10
    assert long.stat().st_size == 0
    assert long.with_name("v1-abc-s0.log.1").stat().st_size == 1000


def test_a_log_that_cannot_be_copied_stays_and_the_others_are_shortened(tmp_path):
    folder = tmp_path / "processes"
    folder.mkdir()
    for name in ("a.log", "b.log"):
        (folder / name).write_bytes(b"x" * 1000)
    (folder / "a.log.1" / "in the way").mkdir(parents=True)

    Rotation(tmp_path, longest_bytes=100).look()

    assert (folder / "a.log").stat().st_size == 1000
    assert (folder / "b.log").stat().st_size == 0
