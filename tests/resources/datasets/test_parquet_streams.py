"""Large Parquet files become the version that they would become when read whole."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from projects.schema import Dataset
from resources.datasets import streams
from resources.datasets.sources import SourceRows, Sources, SourceUnreadable, large
from resources.datasets.store import DatasetStore
from resources.datasets.streams import TableStream
from resources.storage.request_logs import RequestLogs

ROWS = 70_000


@pytest.fixture
def sources(objects, tmp_path, monkeypatch):
    """Sources for which every file is large."""
    monkeypatch.setattr(large, "LARGE_BYTES", 0)
    monkeypatch.setattr(streams, "ROWS_OF_PORTION", 10_007)
    return Sources(objects, RequestLogs(tmp_path / "requests", objects))


@pytest.fixture
def files(tmp_path):
    """Two files of different columns, in folders that say the year."""
    row = np.arange(ROWS)
    table = pa.table(
        {
            "wing": pa.array(row * 0.5, mask=row % 9 == 0),
            "eggs": pa.array(row % 5, pa.uint8()),
            "note": pa.array([f"n{k % 90}" for k in range(ROWS)]).dictionary_encode(),
            "weight": pa.array([Decimal(k % 7) / 4 for k in range(ROWS)], pa.decimal128(30, 2)),
            "at": pa.array(row * 1_000, pa.timestamp("ns", "Europe/Berlin")),
            "empty": pa.nulls(ROWS),
            "__index_level_0__": row,
            "species": [("wren", "tit", "owl")[k % 3] for k in range(ROWS)],
        }
    )
    for year, part in (("2025", table.slice(0, 40_000)), ("2026", table.slice(40_000))):
        file = tmp_path / "birds" / f"year={year}" / "rows.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(part.drop_columns(["note"]) if year == "2026" else part, file)
    return "files:birds"


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"split": {"validation": 0.1, "group": "eggs"}, "read": {"nulls": ["n7", 1.5]}},
        {"read": {"keep": ["wing", "year"]}, "weight": "weight", "split": {"time": "at"}},
        {"read": {"types": {"eggs": "text", "year": "text"}, "drop": ["empty", "weight"]}},
    ],
    ids=str,
)
def test_portions_give_the_version_of_the_whole(declared, sources, files, objects, tmp_path):
    dataset = Dataset.model_validate({"source": files, "label": "species", **declared})
    store = DatasetStore(objects)

    with sources.rows("p", dataset, tmp_path) as stream:
        assert not isinstance(stream, SourceRows)
        by_stream = store.write("p", "stream", dataset, stream)
    whole = store.write("p", "whole", dataset, sources.read("p", dataset, tmp_path))

    assert by_stream.version == whole.version
    assert by_stream.columns == whole.columns
    assert by_stream.splits == whole.splits
    subjects = {(r.subject, r.action) for r in whole.remarks}
    assert {(r.subject, r.action) for r in by_stream.remarks} == subjects


def test_values_that_decide_the_type_of_their_column_are_read_whole(sources, tmp_path):
    pq.write_table(pa.table({"id": pa.array([1, 2], pa.uint64())}), tmp_path / "a.parquet")

    with sources.rows("p", Dataset(source="files:a.parquet"), tmp_path) as rows:
        assert isinstance(rows, SourceRows)


def test_unknown_column_is_told_with_the_nearest(sources, files, tmp_path):
    declared = Dataset.model_validate({"source": files, "read": {"keep": ["wnig"]}})

    with (
        pytest.raises(SourceUnreadable, match=r"no column 'wnig'.*did you mean 'wing'"),
        sources.rows("p", declared, tmp_path),
    ):
        pass


def test_files_that_change_while_they_are_read_make_no_version(objects):
    class Changing(TableStream):
        is_still = False
        reads = []

        def tables(self, columns=None):
            self.reads.append(columns)
            table = self.table if len(self.reads) < 2 else self.table.slice(0, 30)
            yield table if columns is None else table.select(columns)

    rows = Changing(pa.table({"x": range(40)}))

    with pytest.raises(SourceUnreadable, match="changed while it was read"):
        DatasetStore(objects).write("p", "x", Dataset(source="files:x.parquet"), rows)
    assert not [key for key, _ in objects.keys("datasets") if key.endswith("version.json")]
