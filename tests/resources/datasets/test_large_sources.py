"""Large sources of text, queries and watched folders become the version of the same rows when they
are small."""

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from projects.schema import Dataset
from resources.datasets import streams
from resources.datasets.sources import SourceRows, Sources, SourceUnreadable, large
from resources.datasets.sources import spool as spools
from resources.datasets.store import DatasetStore
from resources.storage.request_logs import RequestLogs
from tests.resources.datasets.pictures import draw

ROWS = 3_000
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def sources(objects, tmp_path, monkeypatch):
    """Sources for which everything is large."""
    monkeypatch.setattr(large, "LARGE_BYTES", 1)
    monkeypatch.setattr(streams, "ROWS_OF_PORTION", 1_024)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return Sources(objects, RequestLogs(tmp_path / "requests", objects))


@pytest.fixture
def made(sources, objects, tmp_path):
    """The versions of a declaration by its stream and by the whole, which leave no file."""

    def of(**declared):
        dataset = Dataset.model_validate(declared)
        store = DatasetStore(objects)
        with sources.rows("p", dataset, tmp_path) as stream:
            assert not isinstance(stream, SourceRows)
            by_stream = store.write("p", "stream", dataset, stream)
        assert not list((tmp_path / "temporary").iterdir())
        whole = store.write("p", "whole", dataset, sources.read("p", dataset, tmp_path))
        return by_stream, whole

    return of


def assert_same(by_stream, whole):
    assert by_stream.version == whole.version
    assert by_stream.columns == whole.columns
    assert by_stream.splits == whole.splits
    assert {str(r) for r in by_stream.remarks} == {str(r) for r in whole.remarks}


def cells(row):
    """Values of a row; the last rows decide the types of most columns."""
    last, moment = row >= ROWS - 5, NOON + timedelta(seconds=row)
    return {
        "whole": row % 50,
        "late decimals": row + 0.5 if last else row,
        "late text": "x" if last else row,
        "late gaps": ("NA" if row % 2 else "n/a") if last else row / 4,
        "huge": row * 10**18 if last else row,
        "truth": ("yes", "no")[row % 2],
        "code": f"{row:05d}",
        "day": moment.date().isoformat(),
        "at": moment.isoformat() if not last else f"{moment:%FT%T}.1234567+00:00",
        "clock": f"{moment:%H:%M}",
        "price": f"{row}%",
        "note": "" if row % 3 else f'größe "{row}", or so',
        "empty": "",
        "species": ("wren", "tit", "owl")[row % 3],
    }


def csv_of(rows, delimiter=",", index=False):
    quoted = [{name: str(value).replace('"', '""') for name, value in row.items()} for row in rows]
    head = [*([""] if index else []), *quoted[0]]
    lines = [head, *([*([str(n)] if index else []), *r.values()] for n, r in enumerate(quoted))]
    return "".join(delimiter.join(f'"{cell}"' for cell in line) + "\n" for line in lines)


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"split": {"validation": 0.1, "time": "at"}, "read": {"nulls": ["x", 7]}},
        {"read": {"types": {"code": "integer", "day": "timestamp", "year": "text"}}},
        {"read": {"keep": ["whole", "clock", "note"]}, "split": {"group": "whole"}},
        {"read": {"drop": ["late*"], "types": {"clock": "time", "truth": "text"}}},
    ],
    ids=str,
)
def test_large_csv_files_give_the_version_of_small_ones(declared, made, text_file):
    rows = [cells(row) for row in range(ROWS)]
    fewer = [{k: v for k, v in row.items() if k != "price"} for row in rows[1_300:]]
    text_file("birds/year=2025/a.csv", csv_of(rows[:1_300], index=True).encode("windows-1252"))
    text_file("birds/year=2026/b.csv", csv_of(fewer, delimiter=";"))

    assert_same(*made(source="files:birds", label="species", **declared))


@pytest.mark.parametrize("declared", [{}, {"read": {"types": {"code": "number"}, "nulls": [7]}}])
def test_large_lines_of_json_give_the_version_of_small_ones(declared, made, text_file):
    rows = [{k: v for k, v in cells(row).items() if k != "empty"} for row in range(ROWS)]
    for row in rows[2_000:]:
        row["mixed"] = [True, "true", 3][row["whole"] % 3]
        row["none"] = None
    lines = [json.dumps(row) + "\n" for row in rows]
    text_file("birds/a.jsonl", "".join(lines[:1_300]))
    text_file("birds/b.jsonl", "\n" + "".join(lines[1_300:]))

    assert_same(*made(source="files:birds", label="species", **declared))


def test_nested_json_is_read_whole(sources, text_file, tmp_path):
    text_file("a.jsonl", '{"x": 1}\n{"x": {"y": 2}}\n')

    with sources.rows("p", Dataset(source="files:a.jsonl"), tmp_path) as rows:
        assert isinstance(rows, SourceRows)


def test_large_answer_of_a_query_is_in_the_order_of_its_values(made, text_file):
    text_file("a.csv", csv_of([cells(row) for row in range(ROWS)]))
    query = (
        "SELECT species, code, whole % 7 AS day, CASE WHEN whole > 9 THEN whole / 0.7 END AS part, "
        'whole::HUGEINT AS big, "at"::TIMESTAMPTZ AS moment, CASE WHEN whole % 2 = 0 THEN '
        "'nan'::FLOAT ELSE whole END AS odd FROM read_csv('a.csv', all_varchar = true, types = "
        "{'whole': 'INT'}) ORDER BY random()"
    )

    assert_same(*made(source=f"sql:{query}", label="species"))
    assert_same(*made(source=f"sql:{query}", read={"types": {"code": "number"}, "nulls": [3]}))


def test_large_query_that_fails_says_so_and_leaves_no_file(sources, tmp_path):
    query = "SELECT CASE WHEN i < 5000 THEN i ELSE error('bad row') END AS x FROM range(9000) r(i)"

    with (
        pytest.raises(SourceUnreadable, match=r"the query failed.*bad row"),
        sources.rows("p", Dataset(source=f"sql:{query}"), tmp_path),
    ):
        pass
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("source", ["files:a.csv", "files:a.parquet", "sql:FROM 'a.parquet'"])
def test_large_watched_files_are_appended_as_small_ones_are(source, made, text_file, tmp_path):
    rows = [cells(row) for row in range(ROWS)]
    text_file("a.csv", csv_of(rows[:900]))
    numbers = range(900)
    table = pa.table({"whole": numbers, "clock": [1.5] * 900, "species": ["wren"] * 900})
    pq.write_table(table, tmp_path / "a.parquet")
    text_file("arrived/b.csv", csv_of([{**row, "whole": row["whole"] / 2} for row in rows[900:]]))
    read = {"nulls": ["x"]}

    assert_same(*made(source=source, watch="arrived", label="species", read=read))


def test_images_in_portions_give_the_version_of_the_whole(made, tmp_path, monkeypatch):
    monkeypatch.setattr("resources.datasets.sources.images.rows_of_portion", lambda columns: 7)
    for row in range(40):
        greys = np.full((4, 4), row, np.uint16 if row in (9, 30) else np.uint8)
        draw(Image.fromarray(greys), tmp_path / "birds" / ("wren", "tit")[row % 2] / f"{row}.png")

    declared = {"source": "images:birds", "label": "label", "image": {"height": 3, "width": 3}}
    assert_same(*made(**declared))
    assert_same(*made(**declared, read={"nulls": [5], "types": {"pixel_1": "number"}}))


def test_wrong_cell_of_a_large_file_is_told_with_its_line(sources, text_file, tmp_path):
    lines = [f"{row},{row}\n" for row in range(ROWS)]
    text_file("a.csv", "x,y\n" + "".join(lines) + "oops,1\n")
    declared = Dataset.model_validate({"source": "files:a.csv", "read": {"types": {"x": "number"}}})

    with (
        pytest.raises(SourceUnreadable, match=rf"a.csv line {ROWS + 2}: column 'x' has 'oops'"),
        sources.rows("p", declared, tmp_path),
    ):
        pass
    assert not list((tmp_path / "temporary").iterdir())


def test_broken_line_of_a_large_file_is_told(sources, text_file, tmp_path):
    lines = [f"{row},{row}\n" for row in range(ROWS)]
    text_file("a.csv", "x,y\n" + "".join(lines) + "1,2,3\n")

    with (
        pytest.raises(SourceUnreadable, match=f"line {ROWS + 2} has 3 columns, expected 2"),
        sources.rows("p", Dataset(source="files:a.csv"), tmp_path),
    ):
        pass


def test_folder_of_a_process_that_was_killed_is_deleted_by_the_next(sources, made, text_file):
    left = Path(tempfile.gettempdir(), f"{spools.PREFIX}left")
    left.mkdir()
    (left / spools.LOCK).touch()
    (left / "0.parquet").touch()
    text_file("a.csv", "x,y\n" + "1,2\n" * 40)

    made(source="files:a.csv")

    assert not left.exists()
