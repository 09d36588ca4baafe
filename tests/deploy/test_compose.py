"""The compose file: sound by itself, and true about PostgreSQL and S3, which are started. Orrery as
it starts it is what the tests of `orrery up` run."""

import os
import re
import shutil
import subprocess

import pytest
import yaml
from sqlalchemy import create_engine, text

from resources.settings import CHECKOUT
from resources.storage.object_store import ObjectStore
from tests.deploy import composed, variables
from tests.deploy.composed import FILE, ORRERY, SERVICES

TEXT = FILE.read_text()
COMPOSE = yaml.safe_load(TEXT)
every_service = pytest.mark.parametrize("name", SERVICES)


def test_docker_compose_understands_the_file():
    command = ["docker", "compose", "--file", str(FILE), "config", "--quiet"]
    if (
        not shutil.which("docker")
        or subprocess.run([*command[:2], "version"], check=False).returncode
    ):
        pytest.skip("docker has no compose here, so only the structure of the file is checked")
    given = {**os.environ, "POSTGRES_PASSWORD": "x", "S3_SECRET": "x"}

    ended = subprocess.run(command, check=False, env=given, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stderr


@every_service
def test_what_a_service_names_is_there(name):
    service = SERVICES[name]

    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        is_file = source.startswith(".")
        assert (FILE.parent / source).is_file() if is_file else source in COMPOSE["volumes"]
    for other, how in service.get("depends_on", {}).items():
        assert how["condition"] != "service_started"
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]


@every_service
def test_every_service_is_confined_and_bounded(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["restart"] in ("unless-stopped", "on-failure")
    assert re.search(r":(?!latest$)[\w.-]+$", service["image"])


def test_only_the_gateway_is_published_and_on_this_machine_alone():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"orrery": ["127.0.0.1:3000:3000"]}


def test_what_is_built_is_a_stage_of_the_images():
    build = SERVICES["orrery"]["build"]
    context = (FILE.parent / build["context"]).resolve()

    assert context == CHECKOUT
    assert f" AS {build['target']}\n" in (context / build["dockerfile"]).read_text()


def test_every_secret_comes_from_outside_the_file():
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|SECRET", name):
                assert value.startswith("${"), name
            assert not re.search(r"://[^/\s:@]+:(?!\$\{)[^/\s@]+@", value), name


def test_a_secret_that_is_not_set_is_asked_for():
    body = set(re.findall(r"\$\{(\w+)", TEXT))

    assert body == set(re.findall(r"\$\{(\w+):\?[^}]+\}", TEXT))


def test_every_variable_is_one_that_settings_read():
    assert variables.ours(ORRERY) <= variables.known()


def test_postgresql_has_the_databases_that_orrery_is_told_of(postgresql):
    composed.make_databases(postgresql)

    engine = create_engine(postgresql.replace("DATABASE", "postgres"))
    with engine.connect() as connection:
        there = set(connection.execute(text("SELECT datname FROM pg_database")).scalars())
    engine.dispose()
    answer = set(filter(None, map(composed.database_of, ORRERY.values())))
    assert len(answer) == 3
    assert answer <= there


def test_orrery_keeps_objects_in_the_bucket_that_is_made_for_it(monkeypatch, tmp_path):
    composed.make_bucket(monkeypatch)
    for name in ("AWS_ALLOW_HTTP", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, ORRERY[name])

    ObjectStore(ORRERY["ORRERY_OBJECTS"], tmp_path).put_text("greeting", "hello")

    assert ObjectStore(ORRERY["ORRERY_OBJECTS"], tmp_path).get_text("greeting") == "hello"
