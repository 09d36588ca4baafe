"""Projects of newcomers, made by `orrery init` and a few lines, go round the loop to a service."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest
import skops.io
from sklearn.datasets import load_diabetes

from api.cli.starting.command import default_of, start
from projects.loading import CHECKOUT
from tests.training.tables import forest_of, opinions, wine

MOST_LINES = 15
"""Lines that a newcomer changes."""


def diabetes(folder: Path) -> dict[str, Any]:
    """A table of numbers, and a number to predict."""
    load_diabetes(as_frame=True, scaled=False).frame.to_csv(folder / "diabetes.csv", index=False)
    return {"source": "diabetes.csv", "label": "target"}


def reviews(folder: Path) -> dict[str, Any]:
    """Texts, and an opinion to predict."""
    pyarrow.csv.write_csv(opinions(500), folder / "reviews.csv")
    return {"source": "reviews.csv", "label": "opinion"}


def forest(folder: Path) -> dict[str, Any]:
    """A scikit-learn model in a file, and the table that it learned from."""
    table = wine(400).drop_columns(["price", "note", "bottled"])
    pyarrow.csv.write_csv(table, folder / "wine.csv")
    known = pyarrow.csv.read_csv(folder / "wine.csv").to_pandas()
    skops.io.dump(forest_of(known, "grape"), folder / "forest.skops")
    return {"source": "forest.skops", "label": "grape", "data": "wine.csv"}


def acrobot(folder: Path) -> dict[str, Any]:
    """A policy of discrete actions, which learns in fewer iterations than init allows."""
    return {"source": "Acrobot-v1", "lines": {"iterations: 30 ": "iterations: 8 "}}


def pendulum(folder: Path) -> dict[str, Any]:
    """A policy of continuous actions."""
    return {"source": "Pendulum-v1", "lines": {"at_least: -600": "at_least: -900"}}


NEWCOMERS = {
    diabetes: lambda answer: isinstance(answer["predictions"][0], float),
    reviews: lambda answer: answer["classes"] == ["bad", "good"],
    forest: lambda answer: answer["predictions"][0] in ("barbera", "barolo", "grignolino"),
    acrobot: lambda answer: answer["predictions"][0] in (0, 1, 2),
    pendulum: lambda answer: len(answer["predictions"][0]) == 1,
}


@pytest.mark.parametrize("newcomer", NEWCOMERS, ids=lambda made: made.__name__)
def test_a_newcomers_project_goes_round_the_loop(newcomer, up, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"label": None, "data": None, "lines": {}, **newcomer(tmp_path)}
    name = newcomer.__name__
    project, _ = start(
        given["source"], name, given["label"], given["data"], default_of, lambda _: None
    )
    assert len(given["lines"]) <= MOST_LINES
    for before, after in given["lines"].items():
        text = project.file.read_text()
        assert before in text
        project.file.write_text(text.replace(before, after))

    ended = subprocess.run(
        [sys.executable, "-c", "from api.cli.main import main; main()", "turn", name],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, **up.env, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"},
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    command = next(line for line in ended.stdout.splitlines() if line.startswith("curl"))
    reply = subprocess.run(shlex.split(command), check=True, capture_output=True, text=True)
    assert NEWCOMERS[newcomer](json.loads(reply.stdout)), reply.stdout
