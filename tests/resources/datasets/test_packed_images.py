"""Images lie in versions as packed columns, and are read as pixels by their names."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.rows import read_matrix, read_rows
from projects.schema import Dataset
from resources.datasets.claims import claims
from resources.datasets.columns import UnusableColumns
from resources.datasets.sources import Sources, SourceUnreadable
from resources.datasets.sources.derived import Origins
from resources.datasets.store import DatasetStore
from resources.storage.request_logs import RequestLogs
from tests.resources.datasets.pictures import draw, image_of

ROWS, PIXELS = 24, [f"pixel_{i}" for i in range(12)]
SIZE = {"height": 3, "width": 4}


def greys(row):
    return (np.arange(12).reshape(3, 4) * 10 + row).astype(np.uint8)


@pytest.fixture
def sources(objects, tmp_path):
    for row in range(ROWS):
        draw(image_of(greys(row)), tmp_path / "birds" / ("wren", "tit")[row % 2] / f"{row}.png")
    return Sources(objects, RequestLogs(tmp_path / "requests", objects))


@pytest.fixture
def made(sources, objects, tmp_path):
    """The version of the pictures by what else is declared."""

    def make(**declared):
        dataset = Dataset.model_validate(
            {"source": "images:birds", "label": "label", "image": SIZE, **declared}
        )
        with sources.rows("p", dataset, tmp_path) as rows:
            return DatasetStore(objects).write("p", "birds", dataset, rows)

    return make


def files_of(version):
    return [file for files in version.of_split.values() for file in files]


def test_pixels_are_one_column_of_bytes_in_the_files(made):
    version = made()

    schema = pq.read_schema(version.train[0])
    assert schema.names == ["file", "label", "object", "bytes", "pixel"]
    assert (schema.field("pixel").type.list_size, str(schema.field("pixel").type.value_type)) == (
        12,
        "uint8",
    )


def test_pixels_are_features_by_their_names(made):
    version = made()

    assert version.features == [c.name for c in version.columns] == PIXELS
    assert {c.kind for c in version.columns} == {"number"}
    table = read_rows(files_of(version), ["file", *PIXELS]).to_pylist()
    for row in table:
        number = int(row.pop("file").split("/")[1].removesuffix(".png"))
        assert list(row.values()) == greys(number).ravel().tolist()
    matrix = read_matrix(version.train, PIXELS)
    assert matrix.shape == (version.splits["train"].rows, 12)


def test_profile_has_every_pixel(made):
    profile = made().profile

    (group,) = profile.groups
    assert (group.name, group.type) == ("pixel", "uint8")
    assert (group.nulls, group.infinite) == ([0] * 12, [0] * 12)
    assert profile.column("pixel_7").low == 70
    assert profile.column("pixel_7").high == 70 + ROWS - 1
    assert profile.column("pixel_7").mean == pytest.approx(70 + (ROWS - 1) / 2)


def test_range_of_pixels_is_judged(made):
    declared = Dataset.model_validate(
        {"source": "images:birds", "expect": {"columns": {"pixel_*": {"range": {"at_most": 99}}}}}
    )

    judged = {claim.name: claim for claim in claims(made(), declared.expect)}

    assert "pixel_8: values from 80 to 103" in judged["columns_are_as_expected"].message


@pytest.mark.parametrize(
    ("declared", "features"),
    [
        ({"read": {"drop": ["pixel_*"]}}, []),
        ({"read": {"keep": ["label", "pixel_*"]}}, PIXELS),
        ({"read": {"drop": ["pixel_0", "object"]}}, PIXELS[1:]),
        ({"read": {"keep": ["pixel_3"]}}, ["pixel_3"]),
        ({"features": ["pixel_1*"]}, ["pixel_1", "pixel_10", "pixel_11"]),
        ({"read": {"nulls": [15]}}, PIXELS),
        ({"weight": "pixel_5"}, [name for name in PIXELS if name != "pixel_5"]),
    ],
    ids=str,
)
def test_pixels_are_declared_by_their_names(declared, features, made):
    version = made(**declared)

    assert version.features == features
    table = read_rows(files_of(version), ["label", *features])
    assert table.num_rows == ROWS
    if "nulls" in declared.get("read", {}):
        assert version.profile.column("pixel_0").nulls == 1
        assert version.profile.column("pixel_1").nulls == 1


@pytest.mark.parametrize(
    ("declared", "error", "message"),
    [
        ({"read": {"drop": ["pixel_12"]}}, SourceUnreadable, "no column 'pixel_12'"),
        ({"features": ["pixels_*"]}, UnusableColumns, "no column 'pixels_"),
        ({"weight": "pixel_99"}, UnusableColumns, "no column 'pixel_99', the declared weight"),
    ],
    ids=str,
)
def test_pixels_that_are_not_there_are_told(declared, error, message, made):
    with pytest.raises(error, match=message):
        made(**declared)


def test_rows_of_tables_are_appended_to_images(made, tmp_path):
    first = made()
    more = read_rows(first.test)
    (tmp_path / "arrived").mkdir()
    pq.write_table(more, tmp_path / "arrived" / "a.parquet")

    version = made(watch="arrived")

    assert version.rows == ROWS + more.num_rows
    assert version.features == PIXELS
    matrix = read_matrix(files_of(version), PIXELS)
    assert np.unique(matrix, axis=0).shape == (ROWS, 12)


def test_one_image_of_16_bits_makes_all_pixels_decimals(made, tmp_path):
    from PIL import Image

    draw(Image.fromarray(np.full((3, 4), 100, np.uint16)), tmp_path / "birds" / "wren" / "deep.png")

    version = made()

    assert version.profile.column("pixel_0").low == 0
    assert pq.read_schema(version.train[0]).field("pixel").type.value_type == pa.float32()
    matrix = read_matrix(files_of(version), PIXELS)
    assert np.isclose(matrix, 100 / 257).all(axis=1).sum() == 1


def test_queries_name_the_pixels(made, sources, tmp_path):
    version = made()
    declared = Dataset.model_validate(
        {
            "from": ["birds"],
            "sql": "SELECT label, pixel_3 + pixel_11 AS both, * EXCLUDE (label, object) FROM birds",
        }
    )

    rows = sources.read("p", declared, tmp_path, Origins(files={"birds": files_of(version)}))

    table = rows.table
    assert table.column_names == ["label", "both", "file", "bytes", *PIXELS]
    expected = np.add(*(table.column(name).to_numpy() for name in ("pixel_3", "pixel_11")))
    np.testing.assert_array_equal(table.column("both").to_numpy(), expected)


def test_sample_has_the_pixels(made):
    version = made()

    assert read_rows([version.sample]).column_names[4:] == PIXELS
