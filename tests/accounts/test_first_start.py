"""The first start makes one owner, however many gateways start at once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from accounts import audit, keys
from accounts.first_start import owner
from accounts.tables import keys as key_table
from accounts.tables import organizations
from resources.database.control import Control
from resources.settings import CHECKOUT

GATEWAYS = 4


def test_gateways_that_start_for_the_first_time_at_once_agree_on_the_owner(
    control, secret, tmp_path
):
    controls = [Control(control.url) for _ in range(GATEWAYS)]

    def start(number: int):
        return owner(controls[number], secret, "home", tmp_path / f"admin-{number}.key")

    with ThreadPoolExecutor(GATEWAYS) as threads:
        owners = set(threads.map(start, range(GATEWAYS)))

    for each in controls:
        each.close()
    assert len(owners) == 1
    with control.read() as connection:
        assert len(connection.execute(select(organizations)).all()) == 1
        (key,) = connection.execute(select(key_table)).all()
        assert key.name == "admin key of the first start"


def test_a_command_in_the_pod_makes_an_admin_key(tmp_path):
    env = {**os.environ, "ORRERY_STATE": str(tmp_path), "COLUMNS": "200"}

    def made() -> str:
        command = [sys.executable, "-c", "from api.cli.main import main; main()", "admin-key"]
        return subprocess.run(
            command, cwd=CHECKOUT, env=env, check=True, capture_output=True, text=True
        ).stdout.strip()

    first, second = made(), made()

    assert first != second
    assert first.startswith(keys.PREFIX)
    with Control(f"sqlite:///{tmp_path}/control.db").read() as connection:
        names = [key.name for key in connection.execute(select(key_table)).all()]
        assert names.count("admin key of the command line") == 2
        assert audit.verify(connection)
