"""Datasets that are made from others, by SQL or by a function of the project."""

import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from assets.keys import asset_key
from definitions import definitions_of
from projects.loading import InvalidProject, load_project
from resources.datasets.sources import Sources
from resources.datasets.store import DatasetStore
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs

HEAD = """
project: cellar
owner: team:wine
datasets:
  bottles: {source: "files:bottles.csv"}
  grape-names: {source: "files:grapes.csv"}
  rows:
    label: sweet
"""
JOINED = """    from: [bottles, grape-names]
    sql: >
      SELECT b.sugar, b.acid * 2 AS acid, g.name AS grape, b.sugar > 4 AS sweet
      FROM bottles b JOIN "grape-names" g ON b.grape = g.id
"""
BY_FUNCTION = """    from: [bottles]
    transform: cellar_steps:FUNCTION
"""
STEPS = """
import random, time
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

def of_pandas(rows: pd.DataFrame):
    return rows.assign(sweet=rows.sugar > 4, twice=rows.acid * 2)

def of_arrow(rows):
    return rows.append_column("sweet", pc.greater(rows["sugar"], 4))

def drops_the_label(rows):
    return rows

def returns_nothing(rows):
    rows.append_column("sweet", pc.greater(rows["sugar"], 4))

def raises(rows: pd.DataFrame):
    return rows["colour"]

def draws(rows: pd.DataFrame):
    return rows.assign(sweet=rows.sugar > 4, drawn=[random.random() for _ in rows.sugar])

def learns(rows: pd.DataFrame):
    return rows.assign(sweet=rows.sugar > 4, centred=rows.sugar - rows.sugar.mean())

def hangs(rows):
    import subprocess
    child = subprocess.Popen(["sleep", "600"])
    open("PIDS", "w").write(f"{child.pid}")
    time.sleep(600)

def dies(rows):
    import os
    os._exit(9)
"""


class Cellar:
    """A project in a folder, its asset instance and its stores."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder, self._instance = folder, instance
        objects = ObjectStore(str(folder / "objects"), folder / "cache")
        self.store = DatasetStore(objects)
        self._resources = {
            "sources": Sources(objects, RequestLogs(folder / "requests", objects)),
            "datasets": self.store,
        }
        grapes = ["barolo", "barbera"]
        self.write("grapes.csv", "id,name\n" + "".join(f"{i},{n}\n" for i, n in enumerate(grapes)))
        self.bottles(2000)
        self.write("cellar_steps.py", STEPS.replace("PIDS", str(folder / "pids")))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def bottles(self, rows: int) -> None:
        lines = [f"{i % 9}.5,{i % 7},{i % 2}\n" for i in range(rows)]
        self.write("bottles.csv", "sugar,acid,grape\n" + "".join(lines))

    def declare(self, how: str) -> None:
        self.write("cellar.yaml", HEAD + how)

    def make(self, *names: str) -> dg.ExecuteInProcessResult:
        project = load_project(self.folder / "cellar.yaml")
        keys = [asset_key("cellar", "dataset", name) for name in names]
        return dg.materialize(
            list(definitions_of(project).assets or []),
            instance=self._instance,
            resources=self._resources,
            selection=keys,
            raise_on_error=False,
        )

    def made(self, name: str = "rows") -> dict:
        event = self._instance.get_latest_materialization_event(
            asset_key("cellar", "dataset", name)
        )
        assert event and event.asset_materialization
        return {k: v.value for k, v in event.asset_materialization.metadata.items()}

    def refusal(self, result: dg.ExecuteInProcessResult) -> str:
        return "\n".join(
            str(event.step_failure_data.user_failure_data or event.step_failure_data.error)
            for event in result.get_step_failure_events()
        )

    def log(self, result: dg.ExecuteInProcessResult) -> str:
        return "\n".join(e.user_message for e in self._instance.all_logs(result.run_id))

    def remarks(self) -> list[tuple[str, str]]:
        records = getattr(self.made()["remarks"], "records", None) or self.made()["remarks"]
        return [(r.data["subject"], r.data["reason"]) for r in records or ()]


@pytest.fixture
def cellar(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Cellar(tmp_path, instance)


ALL = ("bottles", "grape-names", "rows")


def test_a_query_makes_a_dataset_from_others(cellar):
    cellar.declare(JOINED)

    assert cellar.make(*ALL).success

    made = cellar.made()
    assert made["rows"] == 2000
    assert made["task"] == "classification"
    version = cellar.store.read("cellar", "rows", made["version"])
    assert {c.name: c.kind for c in version.columns} == {
        "sugar": "number",
        "acid": "integer",
        "grape": "category",
    }


def test_a_dataset_is_made_again_only_where_rows_or_code_have_changed(cellar):
    cellar.declare(JOINED)
    assert cellar.make(*ALL).success
    first = cellar.made()

    unchanged = cellar.make("rows")
    assert unchanged.success
    assert "not made again" in cellar.log(unchanged)
    assert cellar.made()["version"] == first["version"]

    cellar.bottles(1000)
    assert cellar.make("bottles", "rows").success
    fewer = cellar.made()
    assert fewer["rows"] == 1000

    cellar.declare(JOINED.replace("acid * 2", "acid * 3"))
    assert cellar.make("rows").success
    assert cellar.made()["version"] != fewer["version"]


def test_a_dataset_that_was_not_made_is_named(cellar):
    cellar.declare(JOINED)

    assert "cellar/dataset/bottles was never materialised" in cellar.refusal(cellar.make("rows"))


@pytest.mark.parametrize("function", ["of_pandas", "of_arrow"])
def test_a_function_makes_a_dataset_from_another(cellar, function):
    cellar.declare(BY_FUNCTION.replace("FUNCTION", function))

    assert cellar.make("bottles", "rows").success

    assert cellar.made()["rows"] == 2000
    assert cellar.remarks() == []


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("drops_the_label", "no column 'sweet', the declared label"),
        ("returns_nothing", "cellar_steps:returns_nothing gave NoneType, expected a pyarrow Table"),
        ("raises", "cellar_steps:raises raised KeyError: 'colour'"),
        ("dies", "the process of cellar_steps:dies ended with 9 and no result"),
    ],
)
def test_a_function_that_makes_no_usable_rows_is_refused(cellar, function, says):
    cellar.declare(BY_FUNCTION.replace("FUNCTION", function))

    assert says in cellar.refusal(cellar.make("bottles", "rows"))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("draws", "two calls with the same rows gave different ones"),
        ("learns", "a row comes out different without the rows that follow it"),
    ],
)
def test_a_function_that_is_not_to_be_trusted_is_remarked_on(cellar, function, says):
    cellar.declare(BY_FUNCTION.replace("FUNCTION", function))

    assert cellar.make("bottles", "rows").success

    assert any(
        subject == f"cellar_steps:{function}" and says in why for subject, why in cellar.remarks()
    )


def test_a_function_that_hangs_is_ended_with_its_processes(cellar):
    cellar.declare(BY_FUNCTION.replace("FUNCTION", "hangs") + "    timeout_s: 15\n")

    refused = cellar.refusal(cellar.make("bottles", "rows"))

    assert "cellar_steps:hangs did not end within 15 s" in refused
    child = int((cellar.folder / "pids").read_text())
    end = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
        assert time.monotonic() < end


def test_a_query_reads_no_file_of_the_machine(cellar):
    stolen = BY_FUNCTION.replace("    transform: cellar_steps:FUNCTION\n", "")
    cellar.declare(f"{stolen}    sql: SELECT * FROM read_csv('{cellar.folder}/bottles.csv')\n")

    assert "the query failed" in cellar.refusal(cellar.make("bottles", "rows"))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (
            "    from: [bottles]\n",
            "got neither beside from, expected one of sql, tran",
        ),
        ("    from: [bottles]\n    predict: nobody\n", "got 'nobody', expected a declared model"),
        ("    from: [botles]\n    sql: SELECT 1\n", "did you mean 'bottles'"),
        ("    from: [rows]\n    sql: SELECT 1\n", "'rows' is made from itself"),
        ("    from: [bottles, bottles]\n    sql: SELECT 1\n", "expected every dataset once"),
        ('    source: "files:a.csv"\n    sql: SELECT 1\n', "expected the datasets that it reads"),
        ('    source: "files:a.csv"\n    from: [bottles]\n    sql: S\n', "both source and from"),
        ('    source: "from:bottles"\n', "expected from: [DATASET, ...]"),
        ("    from: [bottles]\n    sql: S\n    watch: new\n", "watch what the dataset is made"),
        (
            "    from: [bottles]\n    transform: cellar_steps:missing\n",
            "module 'cellar_steps' has no function 'missing'",
        ),
    ],
)
def test_what_cannot_be_meant_is_said_when_the_project_is_loaded(cellar, how, says):
    cellar.declare(how)

    with pytest.raises(InvalidProject, match=says.replace("[", r"\[").replace("...", r"\.\.\.")):
        load_project(cellar.folder / "cellar.yaml")
