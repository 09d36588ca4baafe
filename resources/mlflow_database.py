"""MLflow's database of the embedded default: created once, whole, whoever comes first."""

from pathlib import Path

from engine import lease

SQLITE = "sqlite:///"


def create_database(uri: str) -> None:
    """Create the SQLite file with all its tables, if the URI names one that is not there.

    Made under another name first: a creation that is cut short leaves no database, and two at
    the same time make one.
    """
    path = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or path.exists():
        return
    with lease.alone(path.with_suffix(".lock")):
        if path.exists():
            return
        from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine_with_retry

        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        engine = create_sqlalchemy_engine_with_retry(f"{SQLITE}{draft}")
        _initialize_tables(engine)
        # A connection that outlives the renaming finds its database moved, and only reads.
        engine.dispose()
        draft.replace(path)
