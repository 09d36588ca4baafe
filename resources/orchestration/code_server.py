"""One code server for every process of an installation on one machine:
`python -m resources.orchestration.code_server SOCKET`.

Without it Dagster's webserver and its daemon each load all definitions, in a process of their own.
It holds them until a declaration changes; then it loads them in a new process, and takes its
answers from there once it can. Both learn of it within seconds.
"""

import json
import sys
import time
from pathlib import Path

from engine.protocol import write_atomically
from engine.warm.client import is_serving
from resources.orchestration.graphql import LOCATION
from resources.settings import CHECKOUT, Settings

READY_WITHIN_S = 60.0
POLL_S = 0.05


def workspace_of(settings: Settings) -> Path:
    """Dagster's workspace file of a process: the code server that is shared, or else one of its
    own."""
    if settings.code_server is None:
        return CHECKOUT / "workspace.yaml"
    # JSON is YAML, and a path in it needs no thought about quotes.
    server = {"host": "localhost", "socket": str(settings.code_server), "location_name": LOCATION}
    content = json.dumps({"load_from": [{"grpc_server": server}]})
    file = settings.state.absolute() / "workspace.yaml"
    if not file.exists() or file.read_text(encoding="utf-8") != content:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    return file


def wait_for_code_server(settings: Settings) -> None:
    """Return once the shared code server takes connections, where there is one, or after a minute:
    Dagster tries one that does not answer again after ten seconds."""
    end = time.monotonic() + READY_WITHIN_S
    while settings.code_server is not None and time.monotonic() < end:
        if is_serving(settings.code_server):
            return
        time.sleep(POLL_S)


def main(place: Path) -> None:
    """Serve the definitions at the socket until told to stop."""
    from dagster._cli.code_server import start_command

    from resources.orchestration.polling import ask_seldom

    # A code server opens no instance by itself, which would see to it.
    ask_seldom()
    place.parent.mkdir(parents=True, exist_ok=True)
    start_command(
        [
            *["--socket", str(place), "--location-name", LOCATION],
            *["--module-name", "definitions", "--working-directory", str(CHECKOUT)],
            *["--log-level", "warning"],
        ]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
