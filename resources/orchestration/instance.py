"""What `dagster.yaml` names: where Dagster keeps its state and how it starts dagster_runs.

Each class is a factory that is never made itself: the settings decide what it gives.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# `dagster.yaml` may name only subclasses of these, and Dagster has no public names for them.
from dagster._core.launcher.base import RunLauncher
from dagster._core.run_coordinator import RunCoordinator
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.compute_log_manager import ComputeLogManager
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from typing_extensions import override

from engine import lease
from engine.bucket import BucketSettings
from resources.database.migration_lock import migrate_one_at_a_time
from resources.kubernetes_api.settings import RUNS_OF_A_CLUSTER, ClusterSettings
from resources.orchestration.local_launcher import LocalLauncher
from resources.orchestration.polling import ask_seldom
from resources.orchestration.run_config_text import use_core_schema
from resources.orchestration.run_coordinator import AttributingCoordinator
from resources.orchestration.snapshots import describe_jobs_when_asked
from resources.orchestration.sqlite_engines import keep_engines
from resources.settings import Settings

LOG_UPLOAD_EVERY_S = 10
# The shortest interval that Dagster knows.
DEQUEUE_EVERY_S = 1
ENDLESS = 1_000_000
"""Times that a dagster_run goes back into the queue while the Kubernetes API does not answer."""
REQUEUED_AFTER_S = 10
RUNS_OF_A_MACHINE = 4
# `dagster.yaml` names this module, so every process that opens the instance imports it.
use_core_schema()
migrate_one_at_a_time()
ask_seldom()
keep_engines()
describe_jobs_when_asked()


def _state(*parts: str) -> str:
    return str(Settings().state.absolute().joinpath(*parts))


class Factory(ConfigurableClass):
    """What all of them share: no configuration in `dagster.yaml`. Dagster wants each to be a
    subclass of what it makes."""

    @classmethod
    @override
    def config_type(cls) -> Any:
        return {}


class InstanceStorage(Factory, DagsterStorage):
    """Storage of runs, events and schedules."""

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        """PostgreSQL where the settings name it, else SQLite in the state folder."""
        if url := Settings().dagster_storage:
            # Imported here, because dagster_postgres is in the extra `cluster` alone.
            from resources.orchestration.postgresql_storage import open_storage

            return open_storage(url, inst_data)
        from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

        # Processes that create the tables at the same time spoil each other's migrations.
        with lease.alone(Path(_state("dagster.lock"))):
            return DagsterSqliteStorage.from_local(_state("dagster"), inst_data=inst_data)


class InstanceArtifacts(Factory, LocalArtifactStorage):
    """Dagster's small files, in the state folder."""

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        return LocalArtifactStorage(_state("dagster"), inst_data=inst_data)


class InstanceLogs(Factory, ComputeLogManager):
    """Output of steps."""

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        """In the bucket of the object store where there is one, else in the state folder."""
        root = Settings().object_root
        if "://" not in root:
            return LocalComputeLogManager(_state("logs"), inst_data=inst_data)
        from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

        place = urlsplit(root)
        return S3ComputeLogManager(
            bucket=place.netloc,
            prefix="/".join(filter(None, [place.path.strip("/"), "compute-logs"])),
            local_dir=_state("logs"),
            upload_interval=LOG_UPLOAD_EVERY_S,
            upload_extra_args=BucketSettings().write_arguments or None,
            inst_data=inst_data,
        )


class InstanceCoordinator(Factory, RunCoordinator):
    """Queue of dagster_runs."""

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        """One that lets as many run at once as the settings say."""
        cluster = ClusterSettings()
        if not cluster.is_used:
            return AttributingCoordinator(
                max_concurrent_runs=Settings().runs_at_once or RUNS_OF_A_MACHINE,
                dequeue_interval_seconds=DEQUEUE_EVERY_S,
                inst_data=inst_data,
                queue=Settings().queue_socket,
            )
        from resources.kubernetes_api.client import Cluster
        from resources.orchestration.run_pods import RunPods

        return AttributingCoordinator(
            max_concurrent_runs=Settings().runs_at_once or RUNS_OF_A_CLUSTER,
            dequeue_interval_seconds=DEQUEUE_EVERY_S,
            max_user_code_failure_retries=ENDLESS,
            user_code_failure_retry_delay=REQUEUED_AFTER_S,
            inst_data=inst_data,
            has_room=RunPods(Cluster(cluster)).has_room,
        )


class InstanceLauncher(Factory, RunLauncher):
    """Starter of dagster_runs."""

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Any:
        """Run pods where the settings name a cluster, else processes of this machine."""
        cluster = ClusterSettings()
        if not cluster.is_used:
            return LocalLauncher(inst_data=inst_data)
        from resources.orchestration.cluster_launcher import ClusterLauncher

        return ClusterLauncher.of(cluster, inst_data)
