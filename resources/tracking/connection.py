"""How MLflow is reached: its client alone, without global state, loaded at first use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from engine.mlflow_errors import is_refusal
from resources.database.lock import OPENING_LOCK
from resources.tracking.database import create_database


class TrackingUnavailable(Exception):
    """MLflow does not answer; the same call may work later."""


class TrackingRefused(Exception):
    """MLflow refuses: the same call would be refused again."""


class MlflowConnection:
    """One MLflow server or database."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._shown = without_password(uri)
        self._connected: Any = None

    @property
    def _client(self) -> Any:
        if self._connected is None:
            self._connected = self._connect()
        return self._connected

    def _connect(self) -> Any:
        with OPENING_LOCK:
            # MLflow takes these from the environment alone; its own defaults wait four minutes.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
            from mlflow.tracking import MlflowClient

            create_database(self.uri)
            return MlflowClient(self.uri, self.uri)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Raise MLflow's errors as TrackingRefused or TrackingUnavailable, with its address."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            text = f"MLflow at {self._shown}: {getattr(error, 'message', None) or error}"
            if is_refusal(error):
                raise TrackingRefused(text) from error
            raise TrackingUnavailable(text) from error


def without_password(url: str) -> str:
    """The address as it may be shown."""
    named = urlsplit(url)
    if named.password is None:
        return url
    return url.replace(f":{named.password}@", ":***@", 1)
