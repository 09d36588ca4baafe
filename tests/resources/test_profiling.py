"""What a dataset version contains in numbers, and which claims about it hold."""

import math

import pyarrow as pa
import pytest

from projects.schema import Bounds, ColumnExpectation, Expectations
from resources.profiling import CLAIMS, claims, profile_of

BIRDS = {"wing": [1.0, 2.0, 3.0, 6.0], "species": ["wren", "tit", "wren", "wren"]}


def claimed(columns, expect=None):
    """The claims about the columns, by name; `species` is the label."""
    profile = profile_of(pa.table(columns), "species")
    features = [name for name in columns if name == "wing"]
    found = claims(profile, expect or Expectations(), features, "species")
    assert tuple(claim.name for claim in found) == CLAIMS
    return {claim.name: claim for claim in found}


def rule_at_most(bound):
    return ColumnExpectation(range=Bounds(at_most=bound))


def expecting(rule):
    return Expectations(columns={"w*": rule})


def test_profile_counts_nulls_range_mean_and_classes():
    table = pa.table({**BIRDS, "wing": [1.0, None, math.nan, 6.0]})

    profile = profile_of(table, "species")

    wing = profile.column("wing")
    assert (wing.nulls, wing.low, wing.high, wing.mean) == (2, 1.0, 6.0, 3.5)
    assert profile.class_counts == {"wren": 3, "tit": 1}


def test_profile_knows_column_names_that_need_quotes():
    profile = profile_of(pa.table({'a "quoted" name': [1, 2], "select": [3, 4]}), None)

    assert [column.high for column in profile.columns] == [2, 4]


@pytest.mark.parametrize("kind", [pa.null(), pa.string(), pa.float64(), pa.int64(), pa.bool_()])
def test_column_without_any_value_has_a_profile(kind):
    profile = profile_of(pa.table({"empty": pa.array([None, None], kind)}), None)

    (column,) = profile.columns
    assert (column.nulls, column.low, column.high, column.mean) == (2, None, None, None)


def test_all_claims_about_good_rows_hold():
    found = claimed(BIRDS)

    assert all(claim.holds for claim in found.values())


@pytest.mark.parametrize(
    ("columns", "expect", "broken", "message"),
    [
        ({"species": ["wren"] * 4}, None, "classes_are_balanced", "only one class ['wren']"),
        (
            {"species": ["wren", None, "tit", "tit"]},
            None,
            "classes_are_balanced",
            "1 rows have no species",
        ),
        ({"species": [None] * 4}, None, "classes_are_balanced", "4 rows have no species"),
        (
            {},
            Expectations(class_share=Bounds(at_least=0.3)),
            "classes_are_balanced",
            "shares tit: 0.250, expected at least 0.3",
        ),
        (
            {"wing": [1.0, math.nan, 2.0, 3.0]},
            None,
            "features_are_finite",
            "wing: 1 nulls or NaNs",
        ),
        ({"wing": [1.0, None, 2.0, 3.0]}, None, "features_are_finite", "wing: 1 nulls or NaNs"),
        ({"wing": [1.0, math.inf, 2.0, 3.0]}, None, "features_are_finite", "infinite values"),
        ({"wing": [1.0, -math.inf, 2.0, 3.0]}, None, "features_are_finite", "infinite values"),
        (
            {},
            expecting(rule_at_most(5)),
            "columns_are_as_expected",
            "wing: values from 1 to 6, expected at most 5",
        ),
        (
            {},
            expecting(ColumnExpectation(range=Bounds(at_least=1.5, at_most=9))),
            "columns_are_as_expected",
            "wing: values from 1 to 6, expected 1.5 to 9",
        ),
        (
            {},
            Expectations(columns={"beak_*": ColumnExpectation()}),
            "columns_are_as_expected",
            "no column matches 'beak_*'",
        ),
        (
            {},
            Expectations(rows=Bounds(at_least=5)),
            "has_enough_rows",
            "4 rows, expected at least 5",
        ),
        (
            {},
            Expectations(rows=Bounds(at_most=3)),
            "has_enough_rows",
            "4 rows, expected at most 3",
        ),
    ],
)
def test_broken_claim_says_what_was_found_and_expected(columns, expect, broken, message):
    found = claimed({**BIRDS, **columns}, expect)

    assert [name for name, claim in found.items() if not claim.holds] == [broken]
    assert message in found[broken].message


@pytest.mark.parametrize(
    "column",
    [pa.array([1, 2, 3, 6]).cast(pa.decimal128(25, 2)), ["1", "2", "3", "6"]],
    ids=["decimals", "text"],
)
def test_range_does_not_hold_where_it_is_broken_or_cannot_be_told(column):
    columns = {**BIRDS, "weight": column}

    found = claimed(columns, Expectations(columns={"weight": rule_at_most(5)}))

    assert not found["columns_are_as_expected"].holds


def test_one_row_is_too_few_without_any_declaration():
    found = claimed({"wing": [1.0], "species": ["wren"]})

    assert not found["has_enough_rows"].holds


@pytest.mark.parametrize(("share", "holds"), [(0.25, True), (0.24, False)])
def test_nulls_are_accepted_up_to_the_declared_share(share, holds):
    columns = {**BIRDS, "wing": [1.0, None, 2.0, 3.0]}

    found = claimed(columns, expecting(ColumnExpectation(nulls_at_most=share)))

    assert found["features_are_finite"].holds is holds
    assert found["columns_are_as_expected"].holds is holds


def test_feature_without_any_value_is_not_finite():
    found = claimed({**BIRDS, "wing": pa.array([None] * 4, pa.float64())})

    assert not found["features_are_finite"].holds


def test_measured_label_needs_no_classes():
    profile = profile_of(pa.table({"wing": [1.0, 2.0], "weight": [0.5, 0.7]}), "weight")

    found = claims(profile, Expectations(), ["wing"], "weight")

    assert all(claim.holds for claim in found)
