"""What MLflow's client has no question for, asked of MLflow's own tables: many models at once, and
a curve without an object for each of its values.

timeout, retry: the database's; a connection that fails is TrackingUnavailable.
cancel, partial write: nothing is written.
duplicate: reading twice gives the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from resources.tracking.connection import TrackingUnavailable, without_password

POOLED = 2
DATABASES = ("sqlite", "postgresql")


class Head(NamedTuple):
    """What a list of models says of one."""

    newest: int | None
    """Its newest version; None without one."""
    aliases: dict[str, int]
    """Version by alias."""
    artefact_digest: str = ""
    """Of the newest version."""


class Curve(NamedTuple):
    """Values of a metric, shape [N] each, in the order of their steps."""

    steps: np.ndarray
    at_ms: np.ndarray
    values: np.ndarray


class MlflowTables:
    """The tables of an MLflow that keeps them in a database of ours."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @staticmethod
    def are_at(uri: str) -> bool:
        """Whether the tracking URI names a database, and no server."""
        return uri.startswith(DATABASES)

    def heads(self, names: Sequence[str], digest_tag: str) -> dict[str, Head]:
        """Head by name, of those names that are registered; the tag holds a version's digest.

        Raises TrackingUnavailable.
        """
        import sqlalchemy as sa
        from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
        from mlflow.store.model_registry.dbmodels import models as tables
        from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

        model, version = tables.SqlRegisteredModel, tables.SqlModelVersion
        alias, tag = tables.SqlRegisteredModelAlias, tables.SqlModelVersionTag
        # A seek in the primary key for each model, where a maximum would read all its versions.
        newest = (
            sa.select(version.version)
            .where(
                version.workspace == DEFAULT_WORKSPACE_NAME,
                version.name == model.name,
                version.current_stage != STAGE_DELETED_INTERNAL,
            )
            .order_by(version.version.desc())
            .limit(1)
            .scalar_subquery()
        )
        models = sa.select(model.name, newest).where(
            model.workspace == DEFAULT_WORKSPACE_NAME, model.name.in_(names)
        )
        aliases = sa.select(alias.name, alias.alias, alias.version).where(
            alias.workspace == DEFAULT_WORKSPACE_NAME, alias.name.in_(names)
        )
        with self._connected() as connection:
            numbers = {name: number for name, number in connection.execute(models)}
            digests = sa.select(tag.name, tag.value).where(
                tag.workspace == DEFAULT_WORKSPACE_NAME,
                tag.key == digest_tag,
                sa.tuple_(tag.name, tag.version).in_(list(numbers.items())),
            )
            known = {name: value for name, value in connection.execute(digests)}
            heads = {n: Head(number, {}, known.get(n, "")) for n, number in numbers.items()}
            for name, word, number in connection.execute(aliases):
                heads[name].aliases[word] = number
        return heads

    def curve(self, run_id: str, metric: str) -> Curve:
        """All values of the metric. Raises TrackingUnavailable."""
        import sqlalchemy as sa
        from mlflow.store.tracking.dbmodels.models import SqlMetric as M

        query = (
            sa.select(M.step, M.timestamp, M.value, M.is_nan)
            .where(M.run_uuid == run_id, M.key == metric)
            .order_by(M.step, M.timestamp)
        )
        with self._connected() as connection:
            rows = connection.execute(query).all()
        steps, at_ms, values, is_nan = zip(*rows, strict=True) if rows else ((), (), (), ())
        # MLflow keeps what is not a number as 0, with a mark beside it.
        numbers = np.where(np.array(is_nan, bool), np.nan, np.array(values, np.float64))
        return Curve(np.array(steps, np.int64), np.array(at_ms, np.int64), numbers)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            text = f"MLflow's database at {without_password(self._uri)}: {error}"
            raise TrackingUnavailable(text) from error

    @cached_property
    def _engine(self) -> Any:
        import sqlalchemy as sa

        return sa.create_engine(self._uri, pool_size=POOLED, pool_pre_ping=True)
