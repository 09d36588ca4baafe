"""Where rows come from: every kind of source gives its rows, or says what is wrong with it."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from api.processes.plan import free_port
from projects.schema import Dataset, ImageSize
from resources.datasets.sources import (
    SourceUnreachable,
    SourceUnreadable,
    list_files,
    watched_files,
)
from resources.storage.object_store import ObjectMissing
from resources.storage.packs import Packs
from tests import buckets

ROWS = pa.table({"wing": [1.5, 2.5, 3.5], "species": ["wren", "tit", "wren"]})
MORE = pa.table({"wing": [4.5], "species": ["robin"]})


def write(table, file):
    """Write the rows in the format of the file's suffix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(table, file)
    elif file.suffix == ".csv":
        pcsv.write_csv(table, file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))


def draw(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file)


@pytest.fixture
def read(rows_of):
    """Reads the table of a declared source."""
    return lambda source, **declared: rows_of(source, **declared).table


@pytest.mark.parametrize(
    ("name", "rows", "columns", "first"),
    [
        ("digits", 1797, 65, "pixel_0"),
        ("iris", 150, 5, "sepal_length__cm"),
        ("wine", 178, 14, "alcohol"),
        ("breast_cancer", 569, 31, "mean_radius"),
        ("diabetes", 442, 11, "age"),
    ],
)
def test_bundled_set_has_its_rows_features_and_target(name, rows, columns, first, read):
    table = read(f"sklearn:{name}")

    assert table.shape == (rows, columns)
    assert (table.column_names[0], table.column_names[-1]) == (first, "target")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json", ".jsonl", ".ndjson"])
def test_file_of_each_format_gives_its_rows(suffix, read, tmp_path):
    write(ROWS, tmp_path / f"birds{suffix}")

    table = read(f"files:birds{suffix}")

    assert table.to_pylist() == ROWS.to_pylist()


@pytest.mark.parametrize("address", ["data", "data/*.csv", "data/**/*.csv", "{base}/data"])
def test_glob_and_directory_give_the_rows_of_all_files_in_order(address, read, tmp_path):
    write(ROWS, tmp_path / "data" / "a.csv")
    write(MORE, tmp_path / "data" / "b.csv")

    table = read(f"files:{address.format(base=tmp_path)}")

    assert table.to_pylist() == [*ROWS.to_pylist(), *MORE.to_pylist()]


@pytest.mark.parametrize("address", ["birds", "birds/a.parquet"])
def test_bucket_gives_the_rows_under_its_prefix(address, read, tmp_path, monkeypatch):
    root = buckets.make_bucket(monkeypatch)
    write(ROWS, tmp_path / "a.parquet")
    buckets.put("birds/a.parquet", (tmp_path / "a.parquet").read_bytes())
    buckets.put("birds/README.txt", b"not rows")

    table = read(f"files:{root}/{address}")

    assert table.to_pylist() == ROWS.to_pylist()


def test_empty_prefix_of_a_bucket_is_told(read, monkeypatch):
    root = buckets.make_bucket(monkeypatch)

    with pytest.raises(SourceUnreadable, match=f"{root}/absent"):
        read(f"files:{root}/absent")


def test_images_give_file_label_object_and_decoded_pixels(read, tmp_path):
    draw(tmp_path / "birds" / "wren" / "1.png", [[0, 255], [10, 20]])

    (row,) = read("images:birds", image=ImageSize(height=2, width=2)).to_pylist()

    pixels = row.pop("pixel")
    content = (tmp_path / "birds" / "wren" / "1.png").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert pixels == [0, 255, 10, 20]
    assert row == {
        "file": "wren/1.png",
        "label": "wren",
        "object": f"blobs/{digest[:2]}/{digest}",
        "bytes": len(content),
    }


def test_images_are_brought_to_the_declared_size(read, tmp_path):
    draw(tmp_path / "birds" / "wren" / "1.png", np.full((9, 7, 3), 40))

    table = read("images:birds", image=ImageSize(height=2, width=3))

    assert table.column("pixel").to_pylist() == [[40] * 6]


def test_equal_images_are_one_object(read, tmp_path, objects):
    for name in ("wren/1.png", "tit/2.png", "tit/3.png"):
        draw(tmp_path / "birds" / name, [[1 + (name == "tit/3.png")]])

    table = read("images:birds")

    packs, names = Packs(objects), table.column("object").to_pylist()
    assert table.column("label").to_pylist() == ["tit", "tit", "wren"]
    assert packs.names() == set(names)
    assert len(set(names)) == 2
    files = [tmp_path / "birds" / name for name in table.column("file").to_pylist()]
    assert [packs.read(name) for name in names] == [file.read_bytes() for file in files]


def test_only_new_images_are_kept_again(read, tmp_path, objects):
    draw(tmp_path / "birds" / "wren" / "1.png", [[1]])
    read("images:birds")
    draw(tmp_path / "birds" / "wren" / "2.png", [[2]])

    table = read("images:birds")

    packs = sorted((tmp_path / "objects" / "blobs").rglob("*.parquet"))
    kept = [name for pack in packs for name in pq.read_table(pack).column("object").to_pylist()]
    assert sorted(kept) == sorted(table.column("object").to_pylist())
    with pytest.raises(ObjectMissing, match="no pack of the object store has the file absent"):
        Packs(objects).read("absent")


def test_query_joins_files_of_the_project(read, tmp_path):
    write(ROWS, tmp_path / "birds.csv")
    write(pa.table({"species": ["wren"], "eggs": [6]}), tmp_path / "eggs.parquet")

    table = read("sql:SELECT wing, eggs FROM 'birds.csv' JOIN 'eggs.parquet' USING (species)")

    assert table.to_pylist() == [{"wing": 1.5, "eggs": 6}, {"wing": 3.5, "eggs": 6}]


def test_query_gives_equal_rows_in_whatever_order_they_come(read, tmp_path):
    write(ROWS, tmp_path / "birds.csv")

    tables = [
        read(f"sql:SELECT * FROM 'birds.csv' ORDER BY wing {order}") for order in ("ASC", "DESC")
    ]

    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("query", ["SELECT ['a'] AS songs", "SELECT 1 AS a, 2 AS a"])
def test_query_without_usable_columns_of_distinct_names_is_refused(query, read):
    with pytest.raises(SourceUnreadable):
        read(f"sql:{query}")


def test_query_gives_words_of_an_enumeration(read):
    table = read("sql:SELECT unnest(['wren', 'tit'])::ENUM('wren', 'tit') AS species")

    assert table.to_pylist() == [{"species": "tit"}, {"species": "wren"}]


def test_watched_rows_are_appended_in_the_types_of_the_source(read, tmp_path):
    write(ROWS, tmp_path / "birds.parquet")
    write(pa.table({"species": ["robin"], "wing": [4]}), tmp_path / "incoming" / "new.csv")

    table = read("files:birds.parquet", watch="incoming")

    assert table.slice(3).to_pylist() == [{"wing": 4.0, "species": "robin"}]
    assert table.schema == ROWS.schema


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_watched_folder_without_files_adds_nothing(folder, read, tmp_path):
    (tmp_path / "empty").mkdir()
    write(ROWS, tmp_path / "birds.csv")

    table = read("files:birds.csv", watch=folder)

    assert table.to_pylist() == ROWS.to_pylist()


def test_watched_file_without_the_columns_of_the_source_is_told(read, tmp_path):
    write(ROWS, tmp_path / "birds.csv")
    write(pa.table({"wing": [1.0]}), tmp_path / "incoming" / "new.csv")

    with pytest.raises(SourceUnreadable, match="expected wing, species"):
        read("files:birds.csv", watch="incoming")


@pytest.mark.parametrize("name", [".more.csv", "_more.csv", "_log/more.csv", "README.md"])
def test_draft_that_is_still_written_under_a_hidden_name_is_passed_over(name, read, tmp_path):
    write(ROWS, tmp_path / "data" / "birds.csv")
    (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "data" / name).write_text("wing,spec")

    table = read("files:data")

    assert table.to_pylist() == ROWS.to_pylist()


def test_column_that_only_some_files_have_is_not_dropped_silently(read, tmp_path):
    write(ROWS.select(["wing"]), tmp_path / "data" / "a.parquet")
    write(ROWS, tmp_path / "data" / "b.parquet")

    try:
        columns = read("files:data").column_names
    except SourceUnreadable as error:
        columns = str(error)

    assert "species" in columns


def test_bucket_that_is_not_there_is_told(tmp_path, monkeypatch):
    root = buckets.make_bucket(monkeypatch)

    assert list_files(f"{root}/absent", tmp_path) == {}
    with pytest.raises(SourceUnreadable, match="there is no bucket 'orrery-absent'"):
        list_files("s3://orrery-absent/songs", tmp_path)


def test_bucket_that_does_not_answer_is_an_outage_and_no_refusal(read, tmp_path, monkeypatch):
    buckets.make_bucket(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port('127.0.0.1')}")

    for reach in (
        lambda: list_files("s3://birds/songs", tmp_path),
        lambda: read("files:s3://birds/a"),
    ):
        with pytest.raises(
            SourceUnreachable, match=r"s3://birds/.* cannot be listed at the moment"
        ):
            reach()


def test_watched_images_are_those_of_the_source(tmp_path):
    draw(tmp_path / "birds" / "wren" / "1.png", [[0]])
    (tmp_path / "birds" / "rows.csv").touch()

    result = watched_files(Dataset(source="images:birds"), tmp_path)

    assert list(result) == [str(tmp_path / "birds" / "wren" / "1.png")]


def test_request_log_gives_a_column_per_input(read, tmp_path):
    log = tmp_path / "requests" / "birds.singer-api" / "1.jsonl"
    log.parent.mkdir(parents=True)
    entry = {"at": 1.0, "model_version": 3, "inputs": [0.5, 0.25], "output": "wren"}
    log.write_text(json.dumps(entry) + '\n{"at": 2.0, "inp')

    table = read("requests:singer-api")

    assert table.to_pylist() == [
        {"at": 1.0, "model_version": 3, "output": "wren", "input_0": 0.5, "input_1": 0.25}
    ]


def make_bad_files(folder):
    write(ROWS.slice(0, 0), folder / "none.parquet")
    write(ROWS, folder / "cut.parquet")
    (folder / "cut.parquet").write_bytes((folder / "cut.parquet").read_bytes()[:-20])
    (folder / "blank.csv").touch()
    (folder / "ragged.csv").write_text("a,b\n1,2\n3\n")
    write(ROWS, folder / "mixed" / "a.csv")
    write(ROWS, folder / "mixed" / "b.parquet")
    (folder / "photos" / "wren").mkdir(parents=True)
    (folder / "photos" / "wren" / "1.png").write_text("not an image")
    draw(folder / "cut photos" / "wren" / "1.png", np.arange(4096).reshape(64, 64) % 251)
    cut = folder / "cut photos" / "wren" / "1.png"
    cut.write_bytes(cut.read_bytes()[:100])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("files:absent.parquet", r"no file matches .*absent\.parquet"),
        ("files:none.parquet", "files:none.parquet has no rows; expected at least one"),
        ("files:cut.parquet", r"cut\.parquet cannot be read: .*expected a whole file"),
        ("files:blank.csv", r"blank\.csv cannot be read"),
        ("files:ragged.csv", r"ragged\.csv cannot be read: .*2 columns"),
        ("files:mixed", r"holds \['.csv', '.parquet'\]; expected files of one format"),
        ("sql:SELEC 1", "the query failed: .*syntax error"),
        ("sql:SELECT * FROM 'absent.parquet'", "the query failed: .*absent.parquet"),
        ("sql:SELECT 1 WHERE false", "has no rows"),
        ("images:photos", r"1\.png is not a readable image"),
        ("images:cut photos", r"1\.png is not a readable image"),
        ("images:s3://birds/photos", "folders of this machine only, got s3://birds/photos"),
        ("images:absent", "absent holds no images; expected one folder per class"),
        ("sklearn:digit", "bundles no 'digit'; did you mean 'digits'?"),
        ("requests:singer-api", "birds.singer-api has answered no logged request"),
    ],
)
def test_unreadable_source_says_what_is_wrong(source, message, read, tmp_path):
    make_bad_files(tmp_path)

    with pytest.raises(SourceUnreadable, match=f"(?s){message}"):
        read(source, image=ImageSize(height=2, width=2))


def test_listed_file_changes_its_tag_when_it_changes(tmp_path):
    file = tmp_path / "data" / "a.csv"
    write(ROWS, file)
    before = list_files("data", tmp_path)
    file.write_text(file.read_text() + "4.5,robin\n")

    after = list_files("data", tmp_path)

    assert before.keys() == after.keys() == {str(file)}
    assert before != after
