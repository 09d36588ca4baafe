"""Rows are divided by a draw, by groups or by time, and the same rows keep their version."""

import numpy as np
import pyarrow as pa
import pytest

from engine.rows import read_rows
from projects.schema import Dataset, Split
from resources.datasets.claims import claims
from resources.datasets.columns import UnusableColumns
from resources.datasets.splits import split_of
from resources.datasets.store import DatasetStore, declaration_digest


def birds(rows=70_000):
    """A table with every plain type, and with nulls and NaNs in labels."""
    row = np.arange(rows)
    return pa.table(
        {
            "wing": row * 0.25,
            "eggs": pa.array([None if k % 7 == 0 else k for k in range(rows)], pa.int64()),
            "seen": pa.array(row % 5 == 0),
            "note": pa.array([None if k % 11 == 0 else f"n{k % 97}" for k in range(rows)]),
            "day": pa.array((row % 900).astype("int32"), pa.date32()),
            "species": pa.array(
                [None if k % 1000 == 1 else ("wren", "tit", "owl")[k % 3] for k in range(rows)]
            ),
            "grade": pa.array([np.nan if k % 1000 == 3 else float(k % 4) for k in range(rows)]),
        }
    )


def patients(rows=4_000, groups=200, seed=0):
    generator = np.random.default_rng(seed)
    patient = generator.integers(0, groups, rows)
    return pa.table(
        {
            "dose": generator.normal(size=rows),
            "patient": [f"p{each}" for each in patient],
            "visit": pa.array(np.sort(generator.integers(0, 300, rows)).astype("datetime64[D]")),
            "share": generator.random(rows),
            "ill": [("no", "yes")[int(each % 4 == 0)] for each in patient],
        }
    )


def declared_by(**declared):
    return Dataset.model_validate({"source": "files:patients.csv", "label": "ill", **declared})


@pytest.fixture
def store(objects):
    return DatasetStore(objects)


@pytest.fixture
def written(store):
    """Versions of the patients by what is declared of them."""
    return lambda table=None, **declared: store.write(
        "p", "patients", declared_by(**declared), table or patients()
    )


def values_in(version, column):
    """Values of the column by the name of the split."""
    return {
        name: read_rows(files, [column]).column(column).to_pylist()
        for name, files in version.of_split.items()
        if files
    }


@pytest.mark.parametrize(
    ("label", "test", "seed", "version", "digest"),
    [
        ("species", 0.25, 3, "beaaf5fa292459d6ae88c7df", "702d84e7aa70acd74e17617c"),
        ("grade", 0.1, 0, "c56afc5163774b1a7c66dce9", "2f73fc71f05089c7cca2f722"),
        ("wing", 0.3, 1, "be11b3f551be6c74be74d235", "f0ac7f9ce1baeab52effedf4"),
        (None, 0.25, 0, "0adc66fefd1b0a8d58a8ec2d", "174495052e303a10978376cd"),
    ],
)
def test_versions_keep_the_names_that_they_had(label, test, seed, version, digest, store):
    declared = Dataset(source="files:birds.csv", label=label, split=Split(test=test, seed=seed))

    assert store.write("p", "b", declared, birds()).version.startswith(version)
    assert declaration_digest(declared).startswith(digest)


def test_validation_rows_are_a_third_split_of_the_declared_share(written):
    version = written(split={"test": 0.2, "validation": 0.1})

    assert {name: s.rows for name, s in version.splits.items()} == {
        "train": 2_800,
        "test": 801,
        "validation": 399,
    }
    shares = {n: s.class_counts["yes"] / s.rows for n, s in version.splits.items()}
    assert max(shares.values()) - min(shares.values()) < 0.005


def test_every_row_is_in_one_split_alone(written):
    version = written(split={"validation": 0.25})

    doses = [dose for values in values_in(version, "dose").values() for dose in values]

    assert sorted(doses) == sorted(patients().column("dose").to_pylist())


def test_validation_leaves_the_test_rows_as_they_were(written):
    alone = written(split={"test": 0.2, "seed": 5})
    beside = written(split={"test": 0.2, "seed": 5, "validation": 0.2})

    assert values_in(alone, "dose")["test"] == values_in(beside, "dose")["test"]


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_splits(seed, written):
    version = written(split={"validation": 0.2, "group": "patient", "seed": seed})

    groups = [set(values) for values in values_in(version, "patient").values()]

    assert len(groups) == 3
    assert sum(map(len, groups)) == len(set.union(*groups)) == 200


def test_groups_are_stratified_by_the_class_that_most_of_their_rows_have(written):
    version = written(split={"test": 0.25, "group": "patient"})

    shares = [s.class_counts["yes"] / s.rows for s in version.splits.values()]

    assert abs(version.splits["test"].rows / 4_000 - 0.25) < 0.01
    assert abs(shares[0] - shares[1]) < 0.02


def test_a_few_groups_of_as_many_classes_are_still_divided():
    labels = pa.chunked_array([["a", "b", "c"]])
    by = pa.chunked_array([["x", "y", "z"]])

    split = split_of(3, labels, Split(validation=0.25, group="by"), "classification", by)

    assert sorted(split.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us"), pa.float64(), pa.int32()])
def test_the_newest_rows_are_tested_and_those_before_them_validated(kind, written):
    visits = patients().column("visit")
    days = visits.cast(pa.int32())
    table = patients().set_column(
        2, "visit", visits.cast(kind) if pa.types.is_temporal(kind) else days.cast(kind)
    )
    version = written(table, split={"test": 0.2, "validation": 0.1, "time": "visit"})

    times = values_in(version, "visit")

    assert max(times["train"]) < min(times["validation"])
    assert max(times["validation"]) < min(times["test"])
    assert abs(len(times["test"]) / 4_000 - 0.2) < 0.01
    assert abs(len(times["validation"]) / 4_000 - 0.1) < 0.01


def test_order_of_the_rows_does_not_change_a_split_by_time(written):
    declared = {"test": 0.2, "time": "visit"}
    one = written(split=declared)
    other = written(patients().take(list(reversed(range(4_000)))), split=declared)

    assert sorted(values_in(one, "dose")["test"]) == sorted(values_in(other, "dose")["test"])


def test_columns_that_divide_or_weigh_are_no_features(written):
    version = written(split={"group": "patient"}, weight="share")

    assert [c.name for c in version.columns] == ["dose", "visit"]
    assert version.weight == "share"


def test_a_column_that_divides_is_a_feature_where_it_is_named(written):
    version = written(split={"time": "visit"}, features=["d*", "visit"])

    assert [c.name for c in version.columns] == ["dose", "visit"]
    assert version.features == ["dose"]


def test_only_declared_features_are_learned_from_and_others_stay_in_the_table(written):
    version = written(features=["dose"])

    assert [c.name for c in version.columns] == version.features == ["dose"]
    assert len(read_rows(version.test, ["share"])) == 1_000


def test_pattern_of_features_takes_no_label_and_no_weight(written):
    version = written(features=["*"], weight="share")

    assert [c.name for c in version.columns] == ["dose", "patient", "visit"]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"features": ["dosis"]},
            r"features: no column 'dosis' to learn from; did you mean 'dose'",
        ),
        ({"features": ["ill_*"]}, "features: no column 'ill_"),
        ({"weight": "shares"}, r"no column 'shares', the declared weight; did you mean 'share'"),
        ({"split": {"group": "pateint"}}, r"split.group; did you mean 'patient'"),
        ({"split": {"time": "visits"}}, r"split.time; did you mean 'visit'"),
        ({"weight": "patient"}, "the weight 'patient' is of type string, expected numbers from 0"),
        ({"split": {"time": "patient"}}, "'patient' of type string, expected dates, times or num"),
        ({"weight": "dose"}, r"the weight 'dose' has \d+ values that are negative"),
    ],
    ids=str,
)
def test_columns_that_cannot_have_their_role_are_refused(declared, message, written):
    with pytest.raises(UnusableColumns, match=message):
        written(**declared)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.nan], "has 2000 values that are negative, missing or not finite .such as nan"),
        ([1.0, np.inf], "such as inf"),
        ([1.0, None], "such as None"),
        ([0.0, 0.0], "every weight 'share' is 0"),
        ([True, False], "of type bool"),
    ],
    ids=str,
)
def test_odd_weights_are_refused(values, message, written):
    table = patients().set_column(3, "share", pa.array(values * 2_000))

    with pytest.raises(UnusableColumns, match=message):
        written(table, weight="share")


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("group", ["a"] * 4, "has one value, expected at least 2: one for each of train, test"),
        ("group", ["a", None, "b", "c"], "1 of 4 rows have no 'by' .* split: group"),
        ("time", [1, 1, 1, 1], "has one value, expected at least 2"),
        ("time", [1.0, 2.0, np.nan, 3.0], "1 of 4 rows have no 'by' .null or NaN.*split: time"),
        ("time", [True, False, True, True], "of type bool, expected dates, times or numbers"),
    ],
    ids=str,
)
def test_columns_that_cannot_divide_are_refused(key, values, message):
    with pytest.raises(UnusableColumns, match=message):
        split_of(4, None, Split.model_validate({key: "by"}), None, pa.chunked_array([values]))


def test_two_groups_are_too_few_for_three_splits():
    by = pa.chunked_array([["a", "b"] * 5])

    with pytest.raises(UnusableColumns, match="2 different values, expected at least 3"):
        split_of(10, None, Split(group="by", validation=0.2), None, by)


def test_class_that_is_missing_in_a_split_by_time_breaks_a_claim(written):
    table = pa.table({"x": range(40), "day": range(40), "ill": ["no"] * 30 + ["yes"] * 10})
    version = written(table, split={"test": 0.2, "validation": 0.2, "time": "day"})

    judged = {c.name: c for c in claims(version, Dataset(source="files:a.csv").expect)}

    assert not judged["splits_are_whole"].holds
    assert "the train split has no row of yes" in judged["splits_are_whole"].message
    assert "the test split has no row of no" in judged["splits_are_whole"].message


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"split": {"test": 0.6, "validation": 0.4}}, "expected a sum below 1"),
        ({"split": {"group": "a", "time": "b"}}, "got both group and time"),
    ],
    ids=str,
)
def test_contradictory_splits_are_refused(declared, message):
    with pytest.raises(ValueError, match=message):
        declared_by(**declared)


@pytest.mark.parametrize(
    ("declared", "key", "message"),
    [
        ({"weight": "ill"}, "weight", "got the label 'ill', expected another column"),
        ({"split": {"group": "ill"}}, "split.group", "got the label 'ill'"),
        ({"features": ["ill"]}, "features", "got 'ill', which is the label and never a feature"),
        ({"weight": "w", "features": ["w"]}, "features", "which is the weight"),
        ({"weight": "w", "read": {"drop": ["w*"]}}, "read.drop", "drops the weight 'w'"),
    ],
    ids=str,
)
def test_contradictory_roles_are_told_by_their_key(declared, key, message):
    assert message in declared_by(**declared).contradictions()[key]


def test_columns_with_a_role_are_read_though_others_are_kept(rows_of, text_file):
    text_file("a.csv", "dose,w,who,when,ill\n1,2,a,2026-01-01,no\n2,1,b,2026-01-02,yes\n")

    rows = rows_of(
        "files:a.csv",
        label="ill",
        weight="w",
        split={"group": "who"},
        read={"keep": ["dose"]},
    )

    assert rows.table.column_names == ["dose", "w", "who", "ill"]
