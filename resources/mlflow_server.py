"""The MLflow server of the embedded default, in one process.

`python -m resources.mlflow_server URI ARTIFACTS HOST PORT`: the database comes first, under the
lock that every process takes. MLflow's own command starts the server as a child, which outlives
it when it is killed and keeps the port; so the application is served here directly.
"""

import os
import sys

from resources.mlflow_database import create_database


def main(uri: str, artifacts: str, host: str, port: str) -> None:
    """Serve until told to stop."""
    create_database(uri)
    from mlflow.server import constants

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = uri
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifacts
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = artifacts
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    import uvicorn

    uvicorn.run("mlflow.server.fastapi_app:app", host=host, port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
