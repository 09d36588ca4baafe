"""Dagster's tables at the version of the installed Dagster: the gateway brings them there.

timeout: none; a migration takes as long as the storage is large.
retry: what failed is tried at the next start; Dagster's migrations look at what is there already.
cancel, partial write: each step of a migration is one transaction.
duplicate: one process migrates, and others wait for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterInstance
from sqlalchemy import create_engine

from engine import lease
from resources.database.postgresql import alone
from resources.settings import Settings

MIGRATING = 7235117


def upgrade_storage(instance: DagsterInstance, settings: Settings) -> None:
    """Migrate the storage of runs, events and schedules, where it is of an older Dagster."""
    if is_current(instance):
        return
    with _alone(settings):
        # Another process may have migrated while this one waited.
        if not is_current(instance):
            instance.upgrade()


def is_current(instance: DagsterInstance) -> bool:
    """Whether all tables are those of the installed Dagster."""
    storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
    versions = [storage.alembic_version() for storage in storages if storage]
    return all(revisions is None or revisions[0] == revisions[1] for revisions in versions)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    if not settings.dagster_storage:
        with lease.alone(settings.state.absolute() / "dagster.lock"):
            yield
        return
    engine = create_engine(settings.dagster_storage)
    try:
        with alone(engine, MIGRATING):
            yield
    finally:
        engine.dispose()
