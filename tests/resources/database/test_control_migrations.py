"""What a migration of the control database makes of the rows that are there."""

import json

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text

from resources.database.control import MIGRATIONS, Control
from scheduler import jobs
from tests.control import new_database

INSERT = text(
    "INSERT INTO jobs (id, organization_id, project, kind, name, status, message, spec, created_by,"
    " gpus, created_at, attempts, due_at) VALUES ('job_1', 'home', 'digits', 'release',"
    " 'reader-api', 'queued', '', :spec, 'ada', 0, 1.0, 0, 1.0)"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    """URL of an empty control database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'control.db'}"
    return new_database(request.getfixturevalue("postgresql"))


def migrate(connection: Connection, revision: str) -> None:
    """Bring an empty database to the revision."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS))
    command.upgrade(config, revision)


def test_a_queued_job_of_an_earlier_name_launches_the_dagster_job_of_today(url):
    spec = {"launch": {"job": "release_digits", "assets": [], "config": {}}, "model_version": 2}
    with create_engine(url).begin() as connection:
        migrate(connection, "0004")
        connection.execute(INSERT, {"spec": json.dumps(spec)})
    control = Control(url)
    with control.read() as connection:
        job = jobs.find(connection, "home", "job_1")
    control.close()
    assert job is not None
    assert job.kind == "deploy"
    assert job.spec["launch"]["job"] == "deploy_digits"
    assert job.spec["model_version"] == 2
