"""The compose file's services as this machine can start them: PostgreSQL, S3 server and Orrery."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
import yaml
from sqlalchemy import create_engine, text

from resources.settings import CHECKOUT
from tests import buckets
from tests.control import postgresql_in

FILE = CHECKOUT / "deploy" / "compose.yaml"
SERVICES = yaml.safe_load(FILE.read_text())["services"]
ORRERY = SERVICES["orrery"]["environment"]


def database_of(value: str) -> str:
    """Name of the database in one of Orrery's addresses; empty for another variable."""
    result = urlsplit(value)
    return result.path.lstrip("/") if result.hostname == "postgresql" else ""


def make_databases(server: str) -> None:
    """Run what the file gives PostgreSQL to run at its first start."""
    (mounted,) = [v for v in SERVICES["postgresql"]["volumes"] if ".sql:" in v]
    script = (FILE.parent / mounted.partition(":")[0]).read_text()
    engine = create_engine(server.replace("DATABASE", "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(text(statement))
    engine.dispose()


def make_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what the file's service `bucket` does, on an S3 server of this process."""
    buckets.make_bucket(monkeypatch)
    *_, place = SERVICES["bucket"]["command"]
    boto3.client("s3").create_bucket(Bucket=place.partition("/")[2])


@contextmanager
def beside(folder: Path) -> Iterator[dict[str, str]]:
    """Orrery's environment of the file, over a PostgreSQL and a bucket that run here."""
    with postgresql_in(folder) as server, pytest.MonkeyPatch.context() as monkeypatch:
        make_databases(server)
        make_bucket(monkeypatch)
        given = {}
        for name, value in ORRERY.items():
            database = database_of(value)
            given[name] = server.replace("DATABASE", database) if database else value
        addresses = ("AWS_ENDPOINT_URL", "AWS_SECRET_ACCESS_KEY")
        yield given | {name: os.environ[name] for name in addresses}
