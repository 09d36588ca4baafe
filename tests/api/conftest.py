"""A running `orrery up`, a gateway in this process, and the test project under both."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.gateway import running_gateway
from tests.api.shared_up import shared_up
from tests.api.up import Up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One `orrery up` for the files whose tests neither stop it nor harm a process of it.

    Several files use it at once: a test asks for its own job, service or project.
    """
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own in that of the run.
    is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    folder = (base.parent if is_one_of_several else base) / "up"
    with shared_up(folder, os.getppid() if is_one_of_several else os.getpid()) as shared:
        yield shared


@pytest.fixture(name="Up")
def up_class(flowers: Path) -> type[Up]:
    """`orrery up` not yet started; the test project lies in its folder."""
    return Up


@pytest.fixture(scope="module")
def gateway_folder(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_database: Path) -> Path:
    """Folder of a gateway whose MLflow has its tables."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "state").mkdir()
    shutil.copy(empty_mlflow_database, folder / "state" / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def gateway(gateway_folder: Path, flowers_folder: Path):
    """A gateway in this process, over the test project; the UIs load when they are needed."""
    with running_gateway(gateway_folder, flowers_folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def flowers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the test project, for a whole module."""
    folder = tmp_path_factory.mktemp("declared") / "projects"
    shutil.copytree(Path(__file__).parent.parent / "data" / "flowers", folder)
    return folder
