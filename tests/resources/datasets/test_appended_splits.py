"""Rows that are appended leave the splits of the rows before them as they are."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects.schema import Split
from resources.datasets.splits import TEST, TRAIN, VALIDATION, split_of

CLASSES = ("wren", "tit", None, "owl", "1")


@st.composite
def splits(draw):
    test = draw(st.floats(0.02, 0.95))
    validation = draw(st.one_of(st.just(0.0), st.floats(0.02, 0.97 - test)))
    return Split(test=test, validation=validation, seed=draw(st.integers(0, 99)))


def labels_of(positions):
    return pa.chunked_array([[CLASSES[p] for p in positions]], pa.string())


@settings(deadline=None)
@given(positions=st.lists(st.integers(0, 4), max_size=120), split=splits(), cut=st.integers(0, 120))
def test_first_rows_keep_their_splits_when_rows_are_appended(positions, split, cut):
    whole, part = labels_of(positions), labels_of(positions[:cut])

    for task in ("classification", "regression"):
        every = split_of(len(whole), whole, split, task)
        first = split_of(len(part), part, split, task)
        assert first.tolist() == every[:cut].tolist()


@settings(deadline=None)
@given(positions=st.lists(st.integers(0, 3), max_size=120), split=splits(), late=st.integers(0, 60))
def test_class_that_comes_late_moves_no_row_of_another(positions, split, late):
    others = [*positions[:late], 4, *positions[late:], 4]

    codes = split_of(len(others), labels_of(others), split, "classification")

    moved = np.delete(codes, [min(late, len(positions)), len(others) - 1])
    assert (
        moved.tolist()
        == split_of(len(positions), labels_of(positions), split, "classification").tolist()
    )


@settings(deadline=None)
@given(rows=st.integers(4, 400), split=splits())
def test_every_prefix_has_the_declared_shares_within_two_rows(rows, split):
    codes = split_of(rows, None, split)

    tested, validated = (codes == TEST).sum(), (codes == VALIDATION).sum()
    # One row at least of each split, whatever the shares.
    fewest = 1 + bool(split.validation)
    assert abs(tested - np.clip(split.test * rows, 1, rows - fewest)) <= 2
    if split.validation:
        assert abs(validated - np.clip(split.validation * rows, 1, rows - 2)) <= 2.5
    assert (codes == TRAIN).any()


@settings(deadline=None)
@given(split=splits(), rows=st.integers(2, 3))
def test_every_class_of_two_or_three_rows_is_in_as_many_splits(split, rows):
    labels = labels_of([0, 1, 2, 3, 4] * rows)

    codes = split_of(len(labels), labels, split, "classification")

    expected = [TRAIN, TEST, VALIDATION if split.validation else TRAIN][:rows]
    for of_class in codes.reshape(rows, 5).T:
        assert of_class.tolist() == expected


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4, 0.75])
def test_shares_hold_in_every_class(share):
    labels = labels_of(np.random.default_rng(0).choice(4, 5_000, p=[0.7, 0.2, 0.08, 0.02]))

    codes = split_of(5_000, labels, Split(test=share, validation=0.1), "classification")

    total = Counter(labels.to_pylist())
    tested = Counter(v for v, c in zip(labels.to_pylist(), codes, strict=True) if c == TEST)
    for name, rows in total.items():
        assert abs(tested[name] - share * rows) <= 2


def test_rows_are_tested_wherever_they_stand_in_a_period():
    codes = split_of(40_000, None, Split(test=0.25, seed=3))

    for period in (2, 3, 4, 8):
        by_place = [(codes[place::period] == TEST).mean() for place in range(period)]
        assert max(by_place) - min(by_place) < 0.03
