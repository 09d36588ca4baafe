"""The request log keeps to its bound, whoever wrote it, and tells what it lost."""

import errno
import json
import os

import pytest
from prometheus_client import REGISTRY

from serving.bento import request_log
from serving.bento.request_log import RequestLog

COLUMNS = ("wing", "tail")


@pytest.fixture(autouse=True)
def no_thread_flushes(monkeypatch):
    monkeypatch.setattr(request_log, "FLUSH_S", 3_600)


def log_of(folder, name="s0", sample=1.0, megabytes=1, columns=COLUMNS):
    return RequestLog(folder, name, sample, megabytes, columns)


def ask(log, rows, value=1.0, version=1):
    said = {"predictions": [0] * rows, "model_version": version, "request_id": "r"}
    log.add([[value, 2.0]] * rows, said)


def lines_of(folder):
    files = sorted(folder.iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def size_of(folder):
    return sum(file.stat().st_size for file in folder.iterdir())


def counted(outcome):
    return REGISTRY.get_sample_value("predict_log_rows_total", {"outcome": outcome}) or 0.0


def test_the_log_stays_within_its_bound_and_loses_the_oldest_rows_first(tmp_path):
    log = log_of(tmp_path)
    for value in range(30):
        ask(log, 1_000, value)
        log.flush()
        assert size_of(tmp_path) <= 1_000_000

    values = [line["inputs"][0] for line in lines_of(tmp_path) if "inputs" in line]
    assert values == sorted(values)
    assert (values[0] > 0, values[-1]) == (True, 29)
    assert size_of(tmp_path) > 800_000
    assert all(file.read_text().startswith('{"columns"') for file in tmp_path.iterdir())


def test_one_flush_of_more_than_the_bound_stays_within_it(tmp_path):
    log = log_of(tmp_path)
    ask(log, 15_000)
    log.flush()
    assert size_of(tmp_path) <= 1_000_000


def test_files_of_replicas_that_are_gone_count_and_go_first(tmp_path):
    for name in ("s7.jsonl", "s7.jsonl.1", "s9.0000000000000001.jsonl"):
        (tmp_path / name).write_bytes(b"{}\n" * 150_000)
        os.utime(tmp_path / name, (1, 1))
    log = log_of(tmp_path)
    other = log_of(tmp_path, "s1")

    for _ in range(8):
        ask(log, 500)
        ask(other, 500)
        log.flush()
        other.flush()

    assert size_of(tmp_path) <= 1_000_000
    kept = {file.name.partition(".")[0] for file in tmp_path.iterdir()}
    assert {"s0", "s1"} <= kept
    assert len([file for file in tmp_path.iterdir() if file.stat().st_mtime == 1]) <= 1


def test_a_replica_that_starts_again_goes_on_in_its_file_unless_the_columns_are_others(tmp_path):
    for _ in range(2):
        log = log_of(tmp_path)
        ask(log, 2)
        log.flush()
    assert len(list(tmp_path.iterdir())) == 1
    assert [line.keys() == {"columns"} for line in lines_of(tmp_path)] == [True] + 4 * [False]

    log = log_of(tmp_path, columns=("beak",))
    ask(log, 1)
    log.flush()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_line_that_was_cut_does_not_spoil_the_next(tmp_path):
    log = log_of(tmp_path)
    ask(log, 1)
    log.flush()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes() + b'{"at": 1, "inp')

    log = log_of(tmp_path)
    ask(log, 1, value=5.0)
    log.flush()

    whole = max(tmp_path.iterdir()).read_text().splitlines()
    assert json.loads(whole[-1])["inputs"] == [5.0, 2.0]


def test_a_row_that_is_longer_than_a_part_is_written(tmp_path):
    columns = [f"pixel_{number:06d}" for number in range(10_000)]
    log = log_of(tmp_path, columns=columns)
    said = {"predictions": [0], "model_version": 1, "request_id": "r"}
    log.add([[0.5] * 10_000], said)
    log.flush()
    assert len(lines_of(tmp_path)[-1]["inputs"]) == 10_000


def test_rows_of_which_too_many_wait_are_counted_and_told(tmp_path):
    before = counted("pending")
    written = counted("written")
    log = log_of(tmp_path, megabytes=64)
    ask(log, request_log.MOST_PENDING + 1)
    ask(log, 7)
    log.flush()

    assert counted("pending") == before + 7
    assert counted("written") == written + request_log.MOST_PENDING + 1
    told = [line["lost"] for line in lines_of(tmp_path) if "lost" in line]
    assert told == [{"pending": 7}]


def test_rows_that_a_full_disk_refused_are_counted_and_told_once_there_is_room(
    tmp_path, monkeypatch, capsys
):
    before = counted("failed")
    log = log_of(tmp_path)
    ask(log, 1)
    log.flush()
    opened = request_log.Path.open

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(request_log.Path, "open", full)
    for rows in (3, 4):
        ask(log, rows)
        log.flush()
    monkeypatch.setattr(request_log.Path, "open", opened)
    ask(log, 1)
    log.flush()

    assert counted("failed") == before + 7
    told = [line["lost"] for line in lines_of(tmp_path) if "lost" in line]
    assert told == [{"failed": 7}]
    assert capsys.readouterr().err.count("requests are not logged") == 1
    log.flush()
    assert len(lines_of(tmp_path)) == 4


def test_rows_that_the_sample_leaves_out_are_counted_apart(tmp_path, monkeypatch):
    before, lost = counted("sampled_out"), counted("pending")
    monkeypatch.setattr(request_log.random, "random", lambda: 0.9)
    log = log_of(tmp_path, sample=0.5)
    ask(log, 5)
    log.flush()

    assert (counted("sampled_out"), counted("pending")) == (before + 5, lost)
    assert lines_of(tmp_path) == []
