"""Databases of an older Dagster or MLflow: the gateway brings them to the installed version."""

import subprocess
import sys

import pytest
from dagster import DagsterInstance
from sqlalchemy import create_engine, text

from resources.orchestration.schema import is_current, upgrade_storage
from resources.settings import CHECKOUT, Settings
from resources.tracking.database import create_database, upgrade_database
from tests.control import new_database

OLDER_MLFLOW = "1bd49d398cd23"
OLDER_DAGSTER = "7e2f3204cf8e"


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request, tmp_path):
    """URL of a database that is not there, or empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'mlflow.db'}"
    return new_database(request.getfixturevalue("postgresql"))


@pytest.fixture(params=["last", "long ago"])
def older(uri, request):
    """A database of an older MLflow, with an experiment in it."""
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = create_engine(uri)
    Base.metadata.create_all(engine)
    config = _get_alembic_config(uri)
    scripts = ScriptDirectory.from_config(config)
    last = scripts.get_revision("head").down_revision
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, last if request.param == "last" else OLDER_MLFLOW)
        connection.execute(
            text(
                "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
                "VALUES (7, 'kept', 'file:///kept', 'active')"
            )
        )
    engine.dispose()
    return uri


def experiments(uri) -> set[str]:
    from mlflow.tracking import MlflowClient

    return {result.name for result in MlflowClient(uri, uri).search_experiments()}


def test_mlflow_works_on_the_tables_of_an_older_version_once_they_are_brought_up(older):
    upgrade_database(older)

    assert "kept" in experiments(older)


def test_a_database_that_is_not_there_is_made(uri):
    create_database(uri)

    assert experiments(uri) <= {"Default"}


def test_processes_that_make_the_tables_at_once_make_them_once(uri):
    code = f"from resources.tracking.database import create_database; create_database({uri!r})"
    making = [subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT) for _ in range(3)]

    assert [process.wait() for process in making] == [0, 0, 0]


@pytest.fixture(params=["sqlite", "postgresql"])
def dagster_settings(request, settings, monkeypatch):
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgresql"))
        monkeypatch.setenv("ORRERY_DAGSTER_STORAGE", url)
    return Settings()


def test_dagster_storage_of_an_older_version_is_brought_up(dagster_settings):
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        with instance.event_log_storage.index_connection() as connection:
            marked = text("UPDATE alembic_version SET version_num = :older")
            connection.execute(marked, {"older": OLDER_DAGSTER})
        assert not is_current(instance)

        upgrade_storage(instance, dagster_settings)

        assert is_current(instance)
