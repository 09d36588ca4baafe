"""The MLflow server of the embedded default.

`python -m resources.mlflow_server URI ARTIFACTS HOST PORT`: the database comes first, under the
lock that every process takes, and then this process becomes the server.
"""

import os
import sys

from resources.tracking import Tracking


def main(uri: str, artifacts: str, host: str, port: str) -> None:
    """Serve until told to stop; does not return."""
    Tracking(uri, artifacts, "").create_database()
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port]
    command += ["--workers", "1", "--backend-store-uri", uri, "--default-artifact-root", artifacts]
    os.execv(sys.executable, command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
