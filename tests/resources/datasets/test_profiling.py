"""What a dataset version contains, in numbers."""

import math

import numpy as np
import pyarrow as pa
import pytest

from resources.datasets.profiling import Profile, profile_of, profile_of_parts


def test_profile_counts_nulls_range_mean_and_classes():
    table = pa.table(
        {"wing": [1.0, None, math.nan, 6.0], "species": ["wren", "tit", "wren", "wren"]}
    )

    profile = profile_of(table, "species")

    wing = profile.column("wing")
    assert (wing.nulls, wing.low, wing.high, wing.mean) == (2, 1.0, 6.0, 3.5)
    assert profile.class_counts == {"tit": 1, "wren": 3}


def test_infinite_values_are_counted_and_still_known_when_it_is_read_back():
    profile = profile_of(pa.table({"wing": [1.0, math.inf, -math.inf, 3.0]}))

    wing = Profile.model_validate_json(profile.model_dump_json()).column("wing")

    assert (wing.infinite, wing.low, wing.high, wing.mean) == (2, 1.0, 3.0, 2.0)


def test_mean_of_the_largest_numbers_is_finite():
    wing = profile_of(pa.table({"wing": [1.7e308] * 4})).column("wing")

    assert wing.mean == pytest.approx(1.7e308)


def test_profile_knows_column_names_that_need_quotes():
    profile = profile_of(pa.table({'a "quoted" name': [1, 2], "select": [3, 4]}))

    assert [column.high for column in profile.columns] == [2, 4]


@pytest.mark.parametrize(
    "kind", [pa.null(), pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.date32()]
)
def test_column_without_any_value_has_a_profile(kind):
    profile = profile_of(pa.table({"empty": pa.array([None, None], kind)}))

    (column,) = profile.columns
    assert (column.nulls, column.low, column.high, column.mean) == (2, None, None, None)


def test_table_without_rows_has_a_profile():
    profile = profile_of(pa.table({"wing": pa.array([], pa.float64())}))

    assert (profile.rows, profile.column("wing").nulls) == (0, 0)


def test_pixels_are_one_group_that_knows_each_of_them():
    pixels = {f"pixel_{i}": np.array([i, i + 2], np.float32) for i in range(4_096)}

    profile = profile_of(pa.table({"file": ["a", "b"], **pixels, "label": ["x", "y"]}))

    (group,) = profile.groups
    assert [column.name for column in profile.columns] == ["file", "label"]
    assert group.whole().name == "pixel_0 ... pixel_4095"
    assert (group.whole().low, group.whole().high, group.whole().mean) == (0, 4_097, 2_048.5)
    assert profile.column("pixel_7").mean == 8
    assert len(profile.every()) == 4_098


@pytest.mark.parametrize(
    "names",
    [
        [f"x_{i}" for i in range(15)],
        [f"x_{i}" for i in range(1, 30)],
        [f"x_{i:03d}" for i in range(30)],
        [f"x_{i * 2}" for i in range(30)],
        [f"f{i}" for i in range(30)],
    ],
)
def test_other_columns_stand_alone(names):
    profile = profile_of(pa.table({name: [1.0] for name in names}))

    assert [column.name for column in profile.columns] == names


def test_columns_of_another_type_are_not_of_the_group():
    columns = {f"x_{i}": ["a" if i == 20 else 1.0] for i in range(40)}

    profile = profile_of(pa.table(columns))

    assert [len(group.nulls) for group in profile.groups] == [20]
    assert len(profile.columns) == 20


def test_profile_that_was_written_without_groups_is_readable():
    old = '{"rows": 1, "columns": [{"name": "a", "type": "double", "nulls": 0, "low": 1.0}]}'

    assert Profile.model_validate_json(old).column("a").low == 1.0


def test_profile_of_portions_is_that_of_the_whole():
    values = np.arange(1_000, dtype=np.float64)
    values[::7] = np.nan
    values[5] = np.inf
    columns = {"x": values, "none": pa.nulls(1_000, pa.float64()), "word": ["a"] * 1_000}
    table = pa.table({**columns, **{f"pixel_{i}": values + i for i in range(20)}})

    whole = profile_of(table)
    parts = [profile_of(table.slice(start, 300)) for start in range(0, 1_000, 300)]
    merged = profile_of_parts(parts)

    assert merged.model_dump(exclude={"columns", "groups"}) == whole.model_dump(
        exclude={"columns", "groups"}
    )
    for name, expected in whole.every().items():
        found = merged.column(name)
        assert found.model_copy(update={"mean": None}) == expected.model_copy(update={"mean": None})
        assert found.mean == pytest.approx(expected.mean)
