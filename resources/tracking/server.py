"""MLflow's server as an application, on a database that is made or migrated first.

The database comes under the lock that every process takes. MLflow's own command starts the server
as a child, which outlives it when it is killed and keeps the port; so its application is used.
"""

import os
import warnings
from typing import Any

from resources.database.lock import OPENING_LOCK
from resources.tracking.database import upgrade_database

PREFIX_VARIABLE = "_MLFLOW_STATIC_PREFIX"


def server_app(uri: str, artifacts: str, prefix: str) -> Any:
    """The ASGI application, under the path prefix; one per process."""
    with OPENING_LOCK:
        upgrade_database(uri)
        return _loaded(uri, artifacts, prefix)


def _loaded(uri: str, artifacts: str, prefix: str) -> Any:
    # Its routes take the prefix while they are imported.
    os.environ[PREFIX_VARIABLE] = prefix
    from mlflow.server import constants

    # MLflow's application takes its settings from the environment alone.
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = uri
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifacts
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = artifacts
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow imports what Starlette is about to drop.
        from mlflow.server.fastapi_app import app
    return app
