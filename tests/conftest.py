"""What tests share: a state folder of their own, the adapters over it, and small real projects."""

import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.processes.plan import WARM_MODULES
from engine.parent_death import die_with_parent
from resources.settings import CHECKOUT, Settings
from tests.control import control, control_file, control_template, postgresql  # noqa: F401

# Started in the background of a script, pytest ignores SIGINT, and Dagster then SIGTERM too.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The processes of a run inherit it, and draw the same.
FUZZ_SEED = os.environ.setdefault("ORRERY_FUZZ_SEED", str(secrets.randbelow(1 << 32)))
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Seconds before each first training; tests/training/test_rehearsal.py has them.
os.environ.setdefault("ORRERY_DRY_RUN", "false")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "true")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
# Each httpx client reads the certificates that it trusts, which takes 50 ms of processor time for
# those of the world. No test speaks with the world.
os.environ["SSL_CERT_FILE"] = str(CHECKOUT / "tests" / "data" / "nobody.pem")


class Loggers(dict[str, logging.Logger | logging.PlaceHolder]):
    """The loggers of this process, which a thread may add to while another looks through them.

    pytest looks through them without the lock of `logging` before each test, while the gateway of a
    module loads Dagster and MLflow in a thread.
    """

    def values(self) -> Any:
        """The loggers of this moment."""
        return list(super().values())


logging.root.manager.loggerDict = Loggers(logging.root.manager.loggerDict)

LONG = (
    # They share an `orrery up`, which ends once none of them is under way.
    "api/test_outputs.py",
    "api/jobs/test_jobs.py",
    "api/test_deployments.py",
    "api/test_declarations.py",
    "api/test_values.py",
    "api/cli/test_demo.py",
    "assets/test_loop.py",
    "cluster/test_loop.py",
    "assets/test_deployments.py",
    "cluster/test_compute.py",
    "resources/test_moving.py",
    "api/cli/test_tutorials.py",
    "api/cli/test_up.py",
    "training/test_workers.py",
    "assets/test_dry_run.py",
    "training/",
    "serving/",
)
"""Files that take longest: they begin first, so that no process ends alone with one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    ranks = {path: rank for rank, path in enumerate(LONG)}

    def rank(item: pytest.Item) -> int:
        file = item.nodeid.removeprefix("tests/").partition("::")[0]
        return min((ranks[path] for path in LONG if file.startswith(path)), default=len(LONG))

    items.sort(key=rank)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how to draw the same requests again."""
    terminalreporter.write_line(f"requests were drawn with ORRERY_FUZZ_SEED={FUZZ_SEED}")


@pytest.fixture(scope="session")
def warm_server() -> Iterator[Path]:
    """Socket of a warm server, so that a test waits for work and not for imports."""
    with tempfile.TemporaryDirectory(prefix="orrery-test-") as folder:
        path = Path(folder, "warm.sock")
        server = subprocess.Popen(
            [sys.executable, "-m", "engine.warm.server", str(path), *WARM_MODULES],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=die_with_parent,
        )
        assert server.stdout is not None
        assert any("ready" in line for line in server.stdout)
        yield path
        server.terminate()
        server.wait(10)


@pytest.fixture
def warm(settings: Settings, warm_server: Path) -> Path:
    """Makes the processes of the test's state folder start warm."""
    settings.warm_socket.symlink_to(warm_server)
    return settings.warm_socket


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings whose state lies in a folder of the test; processes it starts see the same."""
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("ORRERY_STATE", str(state))
    for name in ("ORRERY_OBJECTS", "ORRERY_MLFLOW_URI", "ORRERY_PROJECTS"):
        monkeypatch.delenv(name, raising=False)
    yield Settings()


@pytest.fixture(scope="session")
def empty_mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, which take seconds to create."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow_database(settings: Settings, empty_mlflow_database: Path) -> Path:
    """The test's own MLflow database, empty."""
    return Path(shutil.copy(empty_mlflow_database, settings.state / "mlflow.db"))


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Folder of a third project: one YAML file, one suite, one training module."""
    folder = tmp_path / "projects"
    shutil.copytree(Path(__file__).parent / "data" / "flowers", folder)
    return folder
