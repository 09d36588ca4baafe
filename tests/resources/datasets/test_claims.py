"""Which claims about a dataset version hold, and what the others say."""

import math

import numpy as np
import pyarrow as pa
import pytest

from projects.schema import Dataset
from resources.datasets.claims import TEXTS, claim_names, claims
from resources.datasets.remarks import Remark
from resources.datasets.sources import SourceRows
from resources.datasets.store import DatasetStore

BIRDS = {"wing": [1.0, 2.0, 3.0, 6.0] * 5, "species": ["wren", "tit", "wren", "wren"] * 5}
REMARK = Remark(subject="note", action="left_out", count=3, reason="no row has a value")


@pytest.fixture
def claimed(objects):
    """The claims about the columns, by name; `species` is the label."""

    def of(columns, expect=None, remarks=(), **declared):
        dataset = Dataset.model_validate(
            {"source": "files:a.csv", "label": "species", "expect": expect or {}, **declared}
        )
        rows = SourceRows(pa.table({**BIRDS, **columns}), remarks)
        version = DatasetStore(objects).write("p", "birds", dataset, rows)
        read = DatasetStore(objects).read("p", "birds", version.version)
        result = claims(read, dataset.expect)
        assert [claim.name for claim in result] == claim_names(dataset.expect)
        return {claim.name: claim for claim in result}

    return of


def broken(claims):
    return [name for name, claim in claims.items() if not claim.holds]


def test_all_claims_about_good_rows_hold(claimed):
    result = claimed({}, {"complete": True})

    assert broken(result) == []
    assert result.keys() == TEXTS.keys()


def test_nothing_is_said_about_completeness_unless_it_is_declared(claimed):
    assert "nothing_is_left_out" not in claimed({}, remarks=(REMARK,))


def first(value, rest="wren", rows=20):
    return [value, *[rest] * (rows - 1)]


@pytest.mark.parametrize(
    ("columns", "expect", "name", "message"),
    [
        (
            {"species": ["wren"] * 20},
            {},
            "labels_are_usable",
            "only one class ['wren'] in species; expected at least two",
        ),
        (
            {"species": [None, *["wren", "tit"] * 9, "tit"]},
            {},
            "labels_are_usable",
            "1 rows have no species (null or NaN); expected a label in each",
        ),
        (
            {"species": [0.5, math.inf, *[1.5] * 18]},
            {},
            "labels_are_usable",
            "0 rows have no species (null or NaN), 1 infinite values",
        ),
        (
            {"species": [math.nan, *np.arange(19) + 0.5]},
            {},
            "labels_are_usable",
            "1 rows have no species (null or NaN)",
        ),
        (
            {"species": [2.5] * 20},
            {},
            "labels_are_usable",
            "every species is 2.5; expected different numbers",
        ),
        (
            {},
            {"class_share": {"at_least": 0.3}},
            "classes_are_balanced",
            "shares tit: 0.250, expected at least 0.3",
        ),
        (
            {"species": ["owl", *["wren", "tit"] * 9, "tit"]},
            {},
            "classes_are_balanced",
            "rows by class owl: 1 (1 classes), expected at least 2",
        ),
        (
            {},
            {"class_rows": {"at_least": 6}},
            "classes_are_balanced",
            "rows by class tit: 5 (1 classes), expected at least 6",
        ),
        (
            {"wing": [math.nan, *range(19)]},
            {},
            "features_are_finite",
            "wing: 1 nulls or NaNs",
        ),
        ({"wing": [None, *range(19)]}, {}, "features_are_finite", "wing: 1 nulls or NaNs"),
        ({"wing": [math.inf, *range(19)]}, {}, "features_are_finite", "1 infinite values"),
        ({"wing": [-math.inf, *range(19)]}, {}, "features_are_finite", "1 infinite values"),
        (
            {"wing": pa.nulls(20, pa.float64())},
            {},
            "features_are_finite",
            "wing: 20 nulls or NaNs",
        ),
        (
            {},
            {"columns": {"w*": {"range": {"at_most": 5}}}},
            "columns_are_as_expected",
            "wing: values from 1 to 6, expected at most 5",
        ),
        (
            {},
            {"columns": {"w*": {"range": {"at_least": 1.5, "at_most": 9}}}},
            "columns_are_as_expected",
            "wing: values from 1 to 6, expected 1.5 to 9",
        ),
        (
            {"weight": ["1", "2"] * 10},
            {"columns": {"weight": {"range": {"at_most": 5}}}},
            "columns_are_as_expected",
            "weight: values of type string, expected numbers at most 5",
        ),
        (
            {},
            {"columns": {"beak_*": {}}},
            "columns_are_as_expected",
            "no column matches 'beak_*'",
        ),
        ({}, {"rows": {"at_least": 21}}, "has_enough_rows", "20 rows, expected at least 21"),
        ({}, {"rows": {"at_most": 19}}, "has_enough_rows", "20 rows, expected at most 19"),
    ],
)
def test_broken_claim_says_what_was_found_and_expected(columns, expect, name, message, claimed):
    result = claimed(columns, expect)

    assert name in broken(result)
    assert message in result[name].message
    assert "\n" not in result[name].message


def test_remark_breaks_a_declared_completeness(claimed):
    result = claimed({}, {"complete": True}, remarks=(REMARK,))

    assert broken(result) == ["nothing_is_left_out"]
    assert (
        "note: left out, 3: no row has a value (1 remarks)" in result["nothing_is_left_out"].message
    )


def test_expected_column_that_was_left_out_is_explained(claimed):
    result = claimed({}, {"columns": {"note": {}}}, remarks=(REMARK,))

    message = result["columns_are_as_expected"].message
    assert message == "no column matches 'note' (no row has a value)"


def test_both_splits_have_rows_of_every_class(claimed):
    few = [name for name in "abcdefgh" for _ in range(2)]

    result = claimed({"wing": list(range(16)), "species": few})

    assert broken(result) == []
    assert result["splits_are_whole"].message == "train: 8 rows, test: 8 rows"


def test_class_of_one_row_is_absent_from_the_test_split(claimed):
    result = claimed({"species": first("owl")[:1] + ["wren", "tit"] * 9 + ["tit"]})

    assert "the test split has no row of owl" in result["splits_are_whole"].message
    assert broken(result) == ["classes_are_balanced", "splits_are_whole"]


def test_rare_class_is_accepted_when_it_is_declared(claimed):
    species = ["owl", *["wren", "tit"] * 9, "tit"]

    assert broken(claimed({"species": species}, {"class_rows": {"at_least": 1}})) == []


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows_of_numbers_are_divided(rows, claimed):
    columns = {"wing": list(range(rows)), "species": [i + 0.5 for i in range(rows)]}

    result = claimed(columns)

    assert result["splits_are_whole"].holds is (rows > 1)


@pytest.mark.parametrize(("share", "holds"), [(0.05, True), (0.04, False)])
def test_nulls_are_accepted_up_to_the_declared_share(share, holds, claimed):
    result = claimed({"wing": [None, *range(19)]}, {"columns": {"w*": {"nulls_at_most": share}}})

    assert result["features_are_finite"].holds is holds
    assert result["columns_are_as_expected"].holds is holds


def test_range_of_one_pixel_is_judged_by_that_pixel(claimed):
    pixels = {f"pixel_{i}": [float(i)] * 20 for i in range(64)}
    expect = {
        "columns": {"pixel_7": {"range": {"at_most": 7}}, "pixel_*": {"range": {"at_most": 63}}}
    }

    assert broken(claimed(pixels, expect)) == []
    expect["columns"]["pixel_7"]["range"]["at_most"] = 6
    assert (
        "pixel_7: values from 7 to 7" in claimed(pixels, expect)["columns_are_as_expected"].message
    )


def test_dataset_without_a_label_needs_no_classes(claimed):
    assert broken(claimed({}, label=None)) == []


def test_version_is_judged_anew_when_expectations_change(objects):
    declared = Dataset.model_validate({"source": "files:a.csv", "label": "species"})
    version = DatasetStore(objects).write("p", "birds", declared, pa.table(BIRDS))
    stricter = Dataset.model_validate(
        {"source": "files:a.csv", "label": "species", "expect": {"rows": {"at_least": 21}}}
    )

    result = claims(DatasetStore(objects).read("p", "birds", version.version), stricter.expect)

    assert [claim.name for claim in result if not claim.holds] == ["has_enough_rows"]
