"""A whole loop of the test project on a real Dagster instance, MLflow and reconciler."""

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from api.processes.plan import free_port
from assets.keys import asset_key
from assets.recipe import TRIGGER_TAG
from definitions import adapters, definitions_of
from engine import lease
from engine.parent_death import die_with_parent
from projects.loading import LoadedProject, load_project
from resources.orchestration.graphql import JOB_TAG
from resources.settings import Settings
from resources.tracking.adapter import Tracking
from tests.waiting import PATIENCE_S


@dataclass
class Loop:
    """One project over one state folder."""

    project: LoadedProject
    settings: Settings
    instance: dg.DagsterInstance

    @property
    def adapters(self) -> dict[str, Any]:
        return adapters(self.settings)

    @property
    def tracking(self) -> Tracking:
        return self.adapters["tracking"]

    def materialize(
        self,
        *families: str,
        job: str | None = None,
        trigger: str | None = None,
        **config: dict,
    ) -> dg.ExecuteInProcessResult:
        """Result of one dagster_run of the families' assets, for the job and by the trigger where
        they are named."""
        tags = {JOB_TAG: job, TRIGGER_TAG: trigger}
        assets = list(definitions_of(self.project).assets or [])
        chosen = [key for a in assets for key in a.keys if key.path[1] in families]
        return dg.materialize(
            assets,
            instance=self.instance,
            resources=self.adapters,
            selection=dg.AssetSelection.assets(*chosen),
            run_config={"ops": {op: {"config": c} for op, c in config.items()}},
            raise_on_error=False,
            tags={name: value for name, value in tags.items() if value},
        )

    def failure_of(self, result: dg.ExecuteInProcessResult) -> str:
        """What the failed steps of a dagster_run say."""
        texts = []
        for event in result.all_events:
            if event.is_step_failure:
                data = event.step_failure_data
                user = data.user_failure_data
                texts.append(user.description if user else data.error.to_string())
        return "\n".join(filter(None, texts))

    def key(self, family: str, name: str) -> dg.AssetKey:
        return asset_key(self.project.name, family, name)

    def metadata(self, family: str, name: str) -> dict[str, Any]:
        """Metadata of the newest materialisation."""
        event = self.instance.get_latest_materialization_event(self.key(family, name))
        return {k: v.value for k, v in event.asset_materialization.metadata.items()}


@contextmanager
def opened(folder: Path) -> Iterator[Loop]:
    """The loop of the project and the state folder in a folder."""
    (folder / "dagster").mkdir(exist_ok=True)
    # Dagster's capture of output starts processes that threads of one process leave behind.
    quiet = {"module": "dagster._core.storage.noop_compute_log_manager"}
    quiet["class"] = "NoOpComputeLogManager"
    overrides = {"compute_logs": quiet}
    with dg.DagsterInstance.local_temp(str(folder / "dagster"), overrides=overrides) as instance:
        yield Loop(load_project(folder / "projects" / "flowers.yaml"), Settings(), instance)


@pytest.fixture
def loop(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Loop]:
    """A new loop, or with the mark `begins` one that has come to a stage."""
    if (begins := request.node.get_closest_marker("begins")) is None:
        for needed in ("warm", "mlflow_database", "flowers"):
            request.getfixturevalue(needed)
    else:
        request.getfixturevalue("stages").enter(begins.args[0])
    with opened(settings.state.parent) as created:
        yield created


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """As elsewhere; a loop that begins at a stage is where the others of its file are."""
    begins = request.node.get_closest_marker("begins")
    folder = request.getfixturevalue("stages").folder if begins else tmp_path
    return settings_in(folder, monkeypatch)


def settings_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose state lies in the folder; processes that are started see the same."""
    (folder / "state").mkdir(exist_ok=True)
    monkeypatch.setenv("ORRERY_STATE", str(folder / "state"))
    for name in ("ORRERY_OBJECTS", "ORRERY_MLFLOW_URI", "ORRERY_PROJECTS"):
        monkeypatch.delenv(name, raising=False)
    return Settings()


@pytest.fixture
def flowers(request: pytest.FixtureRequest, settings: Settings, flowers_data: Path) -> Path:
    """Folder of the test's project."""
    folder = settings.state.parent / "projects"
    if request.node.get_closest_marker("begins") is None:
        shutil.copytree(flowers_data, folder)
    return folder


@pytest.fixture(scope="session")
def flowers_data() -> Path:
    """Files of the test project."""
    return Path(__file__).parent.parent / "data" / "flowers"


def _trained(loop: Loop) -> None:
    assert loop.materialize("dataset", "checkpoint", "model").success


def _simulated(loop: Loop) -> None:
    assert loop.materialize("simulation").success


def _promoted(loop: Loop) -> None:
    assert loop.materialize("champion").success


def _retrained(loop: Loop) -> None:
    # With the same seed the bytes would be the same, which are not promoted again.
    seed = {"flowers__checkpoint__classifier": {"seed": 2}}
    result = loop.materialize("checkpoint", "model", "simulation", **seed)
    assert result.success, loop.failure_of(result)


STAGES: dict[str, tuple[str | None, Callable[[Loop], None]]] = {
    "trained": (None, _trained),
    "simulated": ("trained", _simulated),
    "promoted": ("simulated", _promoted),
    "two versions": ("simulated", _retrained),
}
"""What a stage begins with, and what is done in it."""


class Stages:
    """A loop at each stage: it comes there once, and each test gets it as it was then.

    All are in one folder, one after the other, because what a loop makes names its place.
    """

    def __init__(self, base: Path, begin: Callable[[Path], None]) -> None:
        self.folder, self._copies, self._begin = base / "loop", base, begin
        self.folder.mkdir()

    def enter(self, stage: str | None) -> None:
        """Make the folder what it is at the stage; None is its begin."""
        copy = self._copies / (stage or "new")
        if not copy.exists():
            if stage is None:
                self._begin(self.folder)
            else:
                before, work = STAGES[stage]
                self.enter(before)
                with opened(self.folder) as loop:
                    work(loop)
            shutil.copytree(self.folder, copy, symlinks=True)
        _restore(copy, self.folder)


def _restore(copy: Path, folder: Path) -> None:
    kept = folder / "state" / "mlflow.db"
    for path in [*folder.iterdir(), *kept.parent.iterdir()]:
        if path.is_symlink() or path.is_file():
            if path != kept:
                path.unlink()
        elif path != kept.parent:
            shutil.rmtree(path)
    ignored = shutil.ignore_patterns("mlflow.db*")
    shutil.copytree(copy, folder, symlinks=True, dirs_exist_ok=True, ignore=ignored)
    # MLflow keeps its connections, which would go on with the file that was there.
    with (
        closing(sqlite3.connect(copy / "state" / "mlflow.db")) as source,
        closing(sqlite3.connect(kept)) as target,
    ):
        source.backup(target)


@pytest.fixture(scope="module")
def stages(
    tmp_path_factory: pytest.TempPathFactory,
    warm_server: Path,
    empty_mlflow_database: Path,
    flowers_data: Path,
) -> Stages:
    """The stages that loops of the file begin at."""

    def begin(folder: Path) -> None:
        shutil.copytree(flowers_data, folder / "projects")
        shutil.copy(empty_mlflow_database, folder / "state" / "mlflow.db")
        (folder / "state" / "warm.sock").symlink_to(warm_server)

    return Stages(tmp_path_factory.mktemp("stages"), begin)


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of tests whose loop begins at a stage."""
    config.addinivalue_line("markers", "begins(stage): the test's loop has come to the stage")


@pytest.fixture
def reconciler(loop: Loop):
    services = loop.settings.state / "services"
    services.mkdir()
    log = (loop.settings.state / "reconciler.log").open("wb")
    process = subprocess.Popen(
        [
            *[sys.executable, "-m", "serving.reconciler", str(services)],
            *["127.0.0.1", str(free_port("127.0.0.1")), str(free_port("127.0.0.1"))],
        ],
        stdout=log,
        stderr=log,
        preexec_fn=die_with_parent,
    )
    end = time.monotonic() + 30
    while lease.holder(services) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    yield process
    process.terminate()
    process.wait(PATIENCE_S)
    log.close()
