"""A whole loop of the test project on a real Dagster instance, MLflow and reconciler."""

import subprocess
import sys
import time
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


@pytest.fixture
def loop(settings: Settings, warm: Path, mlflow_database: Path, flowers: Path, tmp_path: Path):
    (tmp_path / "dagster").mkdir()
    # Dagster's capture of output starts processes that threads of one process leave behind.
    quiet = {"module": "dagster._core.storage.noop_compute_log_manager"}
    quiet["class"] = "NoOpComputeLogManager"
    folder = str(tmp_path / "dagster")
    with dg.DagsterInstance.local_temp(folder, overrides={"compute_logs": quiet}) as instance:
        yield Loop(load_project(flowers / "flowers.yaml"), settings, instance)


@pytest.fixture
def reconciler(settings: Settings):
    services = settings.state / "services"
    services.mkdir()
    log = (settings.state / "reconciler.log").open("wb")
    process = subprocess.Popen(
        [
            *[sys.executable, "-m", "serving.reconciler", str(services)],
            *["127.0.0.1", str(free_port("127.0.0.1"))],
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
