import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.protocol import (
    EXIT_DONE,
    EXIT_REFUSED,
    EXIT_TRY_AGAIN,
    JobResult,
    JobSpec,
    Refused,
    TryAgain,
    run_engine,
    write_atomically,
)


def spec_in(folder: Path) -> str:
    return str(JobSpec(job="j", workdir=folder / "work", timeout_s=1).write())


def raising(error: Exception):
    def work(_: JobSpec) -> JobResult:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (Refused("bad shape"), EXIT_REFUSED, "refused"),
        (TryAgain("store is away"), EXIT_TRY_AGAIN, "try_again"),
        (OSError(28, "No space left on device"), EXIT_TRY_AGAIN, "try_again"),
        (ZeroDivisionError("division by zero"), EXIT_REFUSED, "refused"),
    ],
)
def test_the_exit_code_tells_whether_another_attempt_makes_sense(tmp_path, error, code, kind):
    assert run_engine(JobSpec, raising(error), ["main", spec_in(tmp_path)]) == code
    failure = JobResult.read(tmp_path / "work").failure
    assert failure.kind == kind
    assert str(error) in failure.message


def test_work_that_ends_well_exits_with_zero(tmp_path):
    assert run_engine(JobSpec, lambda _: JobResult(), ["main", spec_in(tmp_path)]) == EXIT_DONE


def test_a_spec_that_is_not_json_is_refused(tmp_path, capsys):
    (tmp_path / "spec.json").write_bytes(b"\xff{")
    argv = ["main", str(tmp_path / "spec.json")]
    assert run_engine(JobSpec, lambda _: JobResult(), argv) == EXIT_REFUSED
    assert "spec.json" in capsys.readouterr().err


def test_an_unknown_key_in_a_spec_is_refused(tmp_path, capsys):
    path = Path(spec_in(tmp_path))
    path.write_text(json.dumps({**json.loads(path.read_text()), "gpus": 4}))
    assert run_engine(JobSpec, lambda _: JobResult(), ["main", str(path)]) == EXIT_REFUSED
    assert "gpus" in capsys.readouterr().err


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_threads_that_write_one_file_at_once_leave_the_whole_of_one(tmp_path):
    path = tmp_path / "file.json"
    texts = [str(number) * 100_000 for number in range(8)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_atomically(path, text), texts * 5))

    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]
