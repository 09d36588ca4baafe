"""The newest requests of a service are found without reading the rest of its log."""

import json
import os
import time

import pytest

from resources.storage import log_lines
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import MOST_ROWS, RequestLogs
from tests import buckets

NOW = 1_000_000.0


@pytest.fixture
def logs(tmp_path):
    return RequestLogs(tmp_path, ObjectStore(str(tmp_path / "objects"), tmp_path / "cache"))


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Logs of pods, which are in a bucket."""
    objects = ObjectStore(buckets.make_bucket(monkeypatch), tmp_path / "cache")
    return RequestLogs(tmp_path / "requests", objects)


def lines(times, version=1, columns=("a",), value=None):
    entries = [
        {"at": at, "model_version": version, "inputs": [at if value is None else value]}
        for at in times
    ]
    return "".join(json.dumps(entry) + "\n" for entry in [{"columns": list(columns)}, *entries])


def write(tmp_path, name, text, modified):
    file = tmp_path / "p.api" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (modified, modified))
    return file


@pytest.fixture
def blocks(monkeypatch):
    """Sizes of blocks that files are read in: some end within lines, some with them."""

    def of(size):
        monkeypatch.setattr(log_lines, "BLOCK_BYTES", size)

    return of


@pytest.mark.parametrize("size", [1, 7, 64, 1_000, 1 << 16])
def test_lines_come_whole_however_the_blocks_cut_them(tmp_path, logs, blocks, size):
    blocks(size)
    write(tmp_path, "s0.jsonl", lines(range(50)) + '{"at": 99, "inp', NOW)

    recent = logs.recent("p.api")

    assert recent == ([[at] for at in range(50)], ["a"], 1)


def test_the_newest_rows_of_several_replicas_are_those_of_one_log(tmp_path, logs):
    times = [NOW + n for n in range(3 * MOST_ROWS)]
    write(tmp_path, "s0.jsonl", lines(times[0::2]), times[-1])
    write(tmp_path, "s1.jsonl", lines(times[1::2]), times[-1])

    recent = logs.recent("p.api")

    assert [row[0] for row in recent.rows] == times[-MOST_ROWS:]


def test_rows_of_the_version_that_answered_last_are_found_among_those_of_another(tmp_path, logs):
    times = [NOW + n for n in range(10)]
    write(tmp_path, "s0.jsonl", lines(times, version=1, columns=["old"]), times[-1])
    write(tmp_path, "s1.jsonl", lines([t + 0.5 for t in times], 2, ["new"]), times[-1] + 0.5)

    recent = logs.recent("p.api")

    assert (recent.model_version, recent.columns, len(recent.rows)) == (2, ["new"], 10)


def test_a_request_of_more_rows_than_are_compared_is_not_read_whole(tmp_path, logs, monkeypatch):
    write(tmp_path, "s0.jsonl", lines([NOW] * (5 * MOST_ROWS)), NOW)
    parsed = counting(monkeypatch)

    assert len(logs.recent("p.api").rows) == MOST_ROWS
    assert len(parsed) < MOST_ROWS + 10


def counting(monkeypatch):
    parsed, parse = [], log_lines._parsed
    monkeypatch.setattr(log_lines, "_parsed", lambda line: parsed.append(1) or parse(line))
    return parsed


def test_files_that_were_written_before_are_not_opened(tmp_path, logs, monkeypatch):
    for hour in range(20):
        begin = NOW + 3_600 * hour
        write(tmp_path, f"s0.{hour:02d}.jsonl", lines([begin] * MOST_ROWS), begin)
    opened = []
    read = log_lines._lines_back
    monkeypatch.setattr(
        log_lines, "_lines_back", lambda file: opened.append(file.name) or read(file)
    )

    recent = logs.recent("p.api")

    assert len(recent.rows) == MOST_ROWS
    assert set(opened) == {"s0.19.jsonl"}


def test_rows_of_a_version_that_hardly_answers_are_looked_for_within_a_bound(
    tmp_path, logs, monkeypatch
):
    many = lines([NOW + n for n in range(30_000)], version=1)
    write(tmp_path, "s0.jsonl", many, NOW + 30_000)
    write(tmp_path, "s1.jsonl", lines([NOW, NOW + 30_000], version=2), NOW + 30_000)
    parsed = counting(monkeypatch)

    recent = logs.recent("p.api")

    assert (recent.model_version, recent.rows) == (2, [[NOW], [NOW + 30_000]])
    assert len(parsed) < 21_000


def test_no_log_is_no_request_and_no_mark(logs):
    assert logs.recent("p.api") is None
    assert logs.mark("p.api") == ""


def test_the_mark_changes_with_what_is_logged_alone(tmp_path, logs):
    file = write(tmp_path, "s0.jsonl", lines([NOW]), NOW)
    before = logs.mark("p.api")
    assert before == logs.mark("p.api") != ""

    file.write_text(lines([NOW, NOW]))
    assert logs.mark("p.api") != before


def test_files_of_the_layout_of_before_are_read(tmp_path, logs):
    write(tmp_path, "s0.jsonl.1", lines([NOW]), NOW)
    write(tmp_path, "s0.jsonl", lines([NOW + 1]), NOW + 1)

    assert logs.recent("p.api").rows == [[NOW], [NOW + 1]]


def test_of_shipped_files_the_newest_are_fetched_alone(tmp_path, shipped, monkeypatch):
    now = time.time()
    for pod in ("a", "b"):
        buckets.put(f"requests/p.api/{pod}/requests.1.jsonl", lines([now]).encode())
    listed = shipped._objects.listed
    monkeypatch.setattr(
        shipped._objects,
        "listed",
        lambda prefix: [
            each._replace(modified=now - 3_600 * (each.key.split("/")[2] == "a"))
            for each in listed(prefix)
        ],
    )
    full = lines([now] * MOST_ROWS).encode()
    buckets.put("requests/p.api/b/requests.2.jsonl", full)

    recent = shipped.recent("p.api")

    assert len(recent.rows) == MOST_ROWS
    fetched = {
        str(f.relative_to(tmp_path / "requests")) for f in tmp_path.rglob("requests.*.jsonl")
    }
    assert fetched == {"p.api/b/requests.1.jsonl", "p.api/b/requests.2.jsonl"}


def test_a_shipped_file_that_has_grown_is_fetched_again_and_one_that_is_gone_is_forgotten(
    shipped,
):
    for name in ("1", "2"):
        buckets.put(f"requests/p.api/a/{name}.jsonl", lines([NOW]).encode())
    assert [file.name for file in shipped.files("p.api")] == ["1.jsonl", "2.jsonl"]
    mark = shipped.mark("p.api")

    shipped._objects.delete("requests/p.api/a/1.jsonl")
    buckets.put("requests/p.api/a/2.jsonl", lines([NOW, NOW + 1]).encode())

    (file,) = shipped.files("p.api")
    assert file.read_text() == lines([NOW, NOW + 1])
    assert not file.with_name("1.jsonl").exists()
    assert shipped.mark("p.api") != mark
    assert len(shipped.recent("p.api").rows) == 2


@pytest.mark.parametrize(("width", "rows"), [(10, MOST_ROWS), (1_000, 1_000), (20_000, 100)])
def test_rows_of_many_values_are_fewer(tmp_path, logs, width, rows):
    entry = {"at": NOW, "model_version": 1, "inputs": [0] * width}
    write(tmp_path, "s0.jsonl", (json.dumps(entry) + "\n") * (rows + 5), NOW)

    assert len(logs.recent("p.api").rows) == rows
