import pytest

from engine.progress import follow
from tests.training.search.conftest import trials_of


def test_the_best_of_all_trials_is_the_job_s_model(search, searched):
    spec = searched(trials=8)
    result = search(spec)
    rows = trials_of(result)
    assert [row["state"] for row in rows] == ["finished"] * 8
    best = min(rows, key=lambda row: row["value"])
    assert result.search.best == best["number"]
    assert result.search.values == best["values"]
    assert result.metrics["validation_loss"] == pytest.approx(best["value"])
    assert result.metrics["test_rows"] > 0
    assert {"search_best.png", "search_parallel.png", "curves.png"} <= {
        picture.name for picture in result.pictures
    }
    lines = [line for line, _ in follow(spec.workdir)]
    assert (lines[-1].unit, lines[-1].done, lines[-1].total) == ("trial", 8, 8)
    assert lines[-1].metrics == {"best_validation_loss": best["value"]}
