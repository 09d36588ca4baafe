"""Rows of a notebook become what a service takes, whatever they are written in."""

import io
import math
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from orrery.answers.curves import MetricPoint, Metrics
from orrery.answers.jobs import LogLine, Progress
from orrery.decoding import encoded
from orrery.errors import MissingExtra
from orrery.extras import required
from orrery.frames import curves_frame
from orrery.progress import Bar, display, told
from orrery.rows import shaped_like, table_of

NOW = datetime(2026, 1, 2, 3, 4, 5)


def test_missing_values_of_pandas_are_null_and_times_are_iso_8601():
    frame = pd.DataFrame(
        {
            "size": [1.5, math.nan],
            "count": pd.array([1, None], dtype="Int64"),
            "kind": pd.Categorical(["a", None]),
            "at": [pd.Timestamp(NOW), pd.NaT],
            "yes": [True, False],
            7: ["x", None],
        }
    )
    table = table_of(frame)
    assert table.are_named
    first = {"size": 1.5, "count": 1, "kind": "a", "at": NOW.isoformat(), "yes": True, "7": "x"}
    assert list(table.rows) == [first, dict.fromkeys(first) | {"yes": False}]
    assert encoded(table.fields)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (np.array([[1, 2]], dtype="int8"), [[1, 2]]),
        (np.array([[1.5, np.nan]]), [[1.5, None]]),
        ([[np.float32(0.5), None]], [[0.5, None]]),
        ([np.array([1, 2]), (3, 4)], [[1, 2], [3, 4]]),
        ({"a": np.array([1, 2]), "b": ["x", "y"]}, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        ([{"a": date(2026, 1, 2)}], [{"a": "2026-01-02"}]),
        (pd.DataFrame([[1.5, 2], [3, 4]]), [[1.5, 2], [3.0, 4]]),
        ([], []),
    ],
)
def test_data_of_every_form_becomes_rows(data, expected):
    assert list(table_of(data).rows) == expected


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.array([1.0, 2.0]), "1 dimensions"),
        ([1.0, 2.0], "single values"),
        ({"a": [1, 2], "b": [1]}, r"\[1, 2\] values"),
        ({"a": 1}, "column 'a'"),
        ("text", "got str"),
        (7, "got int"),
    ],
)
def test_what_is_no_table_is_refused_with_what_is_expected(data, said):
    with pytest.raises((TypeError, ValueError), match=said):
        table_of(data)


def test_predictions_have_the_index_of_their_frame():
    frame = pd.DataFrame({"a": [1, 2]}, index=[7, 9])
    assert list(shaped_like(frame, ["x", "y"]).index) == [7, 9]
    assert shaped_like([[1]], ["x"]) == ["x"]


def test_values_of_numpy_are_sent_as_numbers_and_nan_is_refused():
    given = {"lr": np.float64(1e-3), "n": np.int64(3), "many": np.arange(2), "at": NOW}
    assert encoded(given) == b'{"lr": 0.001, "n": 3, "many": [0, 1], "at": "2026-01-02T03:04:05"}'
    with pytest.raises(ValueError, match="JSON"):
        encoded({"lr": math.nan})
    with pytest.raises(TypeError, match="JSON cannot hold"):
        encoded({"lr": object()})


def test_a_step_that_was_written_twice_has_its_last_value():
    points = [MetricPoint(step=s, value=v, at=NOW) for s, v in ((2, 0.5), (1, 0.9), (2, 0.4))]
    other = [MetricPoint(step=1, value=None, at=NOW)]
    metrics = Metrics(run_id="r", metrics={"loss": points, "acc": other}, logged={})
    frame = curves_frame(metrics)
    assert list(frame["loss"]) == [0.9, 0.4]
    assert frame["acc"].isna().all()


def line(done: int, total: int | None = 4) -> LogLine:
    progress = Progress(unit="epoch", done=done, total=total, metrics={"loss": 0.25}, left_s=9.7)
    return LogLine(at=NOW, kind="progress", step="", text="t", progress=progress)


def test_progress_is_told_in_a_line():
    assert told(line(1).progress) == "epoch 1/4, loss 0.25, 10 s left"
    assert told(line(1, None).progress).startswith("epoch 1, ")


def test_lines_of_progress_are_not_written_all_at_once():
    file = io.StringIO()
    shown = display("job", True, file)
    for done in range(100):
        shown.show(line(done))
    shown.end("succeeded")
    written = file.getvalue().splitlines()
    assert written[0] == "job: epoch 0/4, loss 0.25, 10 s left"
    assert written[-1] == "job: succeeded"
    assert len(written) < 10


def test_a_bar_moves_with_the_progress():
    from tqdm import tqdm

    file = io.StringIO()
    bar = Bar("job", lambda **options: tqdm(file=file, **options))
    bar.show(line(3))
    bar.end("succeeded")
    assert "3/4" in file.getvalue() and "succeeded" in file.getvalue()


def test_a_way_of_showing_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="expected 'bar', 'log'"):
        display("job", "bars")


def test_a_package_that_is_missing_is_named_with_how_to_install_it():
    with pytest.raises(MissingExtra, match=r"frames need nobody.*orrery-client\[notebook\]"):
        required("nobody.here", "frames")
