"""A move: everything of one state folder to where the settings point."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from deploy.migration.addresses import Addresses
from deploy.migration.dagster_files import DagsterFiles
from deploy.migration.databases import Database, OnProgress
from deploy.migration.kept_files import KeptFiles
from deploy.migration.objects import Objects, set_logs_apart
from deploy.migration.sqlite_files import SqliteFiles, read_only
from deploy.migration.verification import CannotMove, Compared
from engine import lease
from resources.database.lock import OPENING_LOCK
from resources.settings import Settings

POSTGRESQL = "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"


class Move:
    """From an embedded state folder to PostgreSQL and a bucket.

    Every refusal comes before anything is written. Objects are written first, then each database
    in a transaction of its own, so that no row names an object that is not there; a move that was
    cut short goes on where it stopped when it is asked again. The state folder keeps all it has.
    """

    def __init__(self, folder: Path, settings: Settings, on_progress: OnProgress) -> None:
        """Raises CannotMove."""
        _require_targets(settings)
        if not any((folder / name).exists() for name in ("dagster", "mlflow.db", "control.db")):
            raise CannotMove(
                f"{folder} is no state folder: it has no dagster/, mlflow.db or control.db; name "
                "the one that `orrery up` wrote with --from"
            )
        self.folder, self._settings = folder, settings
        self._bucket, self._on_progress = settings.object_root.rstrip("/"), on_progress
        self._addresses = Addresses(_names_of(folder), self._bucket)
        self._objects = self._listed()
        self._files = KeptFiles(folder, settings)
        sources = (self._dagster, self._mlflow, self._control)
        databases = [each(settings) for each in sources]
        self._databases = [each for each in databases if each.source.is_there]

    def run(self) -> None:
        """Copy everything. Raises CannotMove or OSError."""
        self._files.require_free()
        missing = self._objects.missing()
        for database in self._databases:
            database.prepare()
        waiting = [each for each in self._databases if not each.is_moved()]
        self._objects.copy(missing)
        self._files.copy()
        for database in waiting:
            database.copy()
        if self.folder.resolve() == self._settings.state.resolve():
            set_logs_apart(self.folder)
            self._objects = self._listed()

    def compare(self) -> Iterator[Compared]:
        """Everything on both sides, read anew. Raises CannotMove or OSError."""
        for database in self._databases:
            database.require_same_tables()
            yield from database.compare()
        yield from self._objects.compare()
        yield from self._files.compare()

    def close(self) -> None:
        """Give the connections back."""
        for database in self._databases:
            database.close()

    def _listed(self) -> Objects:
        return Objects(self.folder, self._addresses, self._bucket, self._on_progress)

    def _dagster(self, settings: Settings) -> Database:
        url = settings.dagster_storage

        def make() -> None:
            from resources.orchestration.postgresql_storage import open_storage

            open_storage(url, None)

        return Database(
            "Dagster",
            "ORRERY_DAGSTER_STORAGE",
            url,
            DagsterFiles(self.folder / "dagster", self._addresses),
            make,
            left=frozenset({"secondary_indexes"}),
            on_progress=self._on_progress,
        )

    def _mlflow(self, settings: Settings) -> Database:
        def make() -> None:
            from mlflow.store.db.utils import (
                _safe_initialize_tables,
                create_sqlalchemy_engine_with_retry,
            )

            with OPENING_LOCK:
                engine = create_sqlalchemy_engine_with_retry(settings.mlflow_uri)
                _safe_initialize_tables(engine)
                engine.dispose()

        return Database(
            "MLflow",
            "ORRERY_MLFLOW_URI",
            settings.mlflow_uri,
            SqliteFiles([self.folder / "mlflow.db"], self._addresses),
            make,
            built_in={"workspaces": "name <> 'default'", "experiments": "experiment_id <> 0"},
            on_progress=self._on_progress,
        )

    def _control(self, settings: Settings) -> Database:
        from resources.database.control import VERSION_TABLE, Control

        def make() -> None:
            control = Control(settings.control)
            with control.read():
                pass
            control.close()

        return Database(
            "control",
            "ORRERY_CONTROL",
            settings.control,
            # Each entry of the audit is under the hash of the next one.
            SqliteFiles([self.folder / "control.db"], self._addresses, frozenset({"audit"})),
            make,
            version=VERSION_TABLE,
            on_progress=self._on_progress,
        )


@contextmanager
def at_rest(*folders: Path) -> Iterator[None]:
    """Hold the state folders, as `orrery up` does. Raises CannotMove while something holds one."""
    with ExitStack() as held:
        for folder in dict.fromkeys(each.resolve() for each in folders):
            held.callback(os.close, _held(folder))
        yield


def _held(folder: Path) -> int:
    up = folder / "up"
    up.mkdir(parents=True, exist_ok=True)
    try:
        return lease.hold(up)
    except lease.AlreadyRunning:
        raise CannotMove(
            f"`orrery up` runs on {folder} (process {lease.holder(up)}); expected state folders "
            "at rest; stop it with `orrery down`, and repeat"
        ) from None


def _require_targets(settings: Settings) -> None:
    targets = {
        "ORRERY_DAGSTER_STORAGE": settings.dagster_storage,
        "ORRERY_MLFLOW_URI": settings.mlflow_uri,
        "ORRERY_CONTROL": settings.control,
    }
    wrong = [
        f"{name} is {_shown(url)}, expected {POSTGRESQL}"
        for name, url in targets.items()
        if not url.startswith("postgresql")
    ]
    if not settings.objects.startswith("s3://"):
        got = settings.objects or "not set"
        wrong.append(f"ORRERY_OBJECTS is {got}, expected s3://BUCKET/PREFIX")
    if wrong:
        raise CannotMove(f"the settings do not say where to: {'; '.join(wrong)}; set them")
    if len(set(targets.values())) != len(targets):
        raise CannotMove(
            f"got one database for two of {', '.join(targets)}; expected three, because tables of "
            "different content have the same names; name one for each"
        )


def _shown(url: str) -> str:
    """The URL without its password."""
    if not url:
        return "not set"
    try:
        return make_url(url).render_as_string()
    except ArgumentError:
        return "no URL"


def _names_of(folder: Path) -> list[Path]:
    """Every path by which the rows may know the state folder: where it is, and where it was when
    MLflow's experiments were made."""
    names = [folder.absolute(), folder.resolve()]
    database = folder / "mlflow.db"
    if database.exists():
        with read_only(database).connect() as connection:
            kept = connection.exec_driver_sql(
                "SELECT name, artifact_location FROM experiments"
            ).all()
        for name, location in kept:
            path = unquote(urlsplit(location or "").path)
            if location and location.startswith("file:") and path.endswith(f"/mlflow/{name}"):
                names.append(Path(path.removesuffix(f"/mlflow/{name}")))
    return list(dict.fromkeys(names))
