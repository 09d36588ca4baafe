"""Dagster's daemon, whose sensors and schedules follow the declarations within seconds:
`python -m resources.orchestration.daemon run -w workspace.yaml`.

Dagster's own loads all definitions anew every minute, whether they have changed or not.
"""

import time
from typing import Any

from dagster._daemon import controller
from dagster._daemon.cli import main
from dagster_shared.error import DagsterError

from resources.api_projects import ApiProjects
from resources.declarations import Declarations
from resources.orchestration.start_monitoring import wait_for_room
from resources.settings import Settings

AT_LEAST_EVERY_S = 3_600.0


class Freshness:
    """Decides when the daemon loads the definitions anew."""

    def __init__(self, settings: Settings) -> None:
        self._declarations, self._shared = Declarations(settings), ApiProjects(settings)
        self._seen = self._declarations.fingerprint()

    def check(self, daemon: Any, last_update: float) -> float:
        """Time of the newest load, in place of the controller's own check."""
        try:
            self._shared.pull()
            fingerprint = self._declarations.fingerprint()
            is_old = time.time() - last_update > AT_LEAST_EVERY_S
            if fingerprint == self._seen and not is_old:
                return last_update
            if daemon._grpc_server_registry:
                daemon._grpc_server_registry.clear_all_grpc_endpoints()
            daemon._workspace_process_context.refresh_workspace()
            # Last, so that a load that failed is tried again.
            self._seen = fingerprint
            return time.time()
        except (OSError, DagsterError):
            # An error of the check would end the daemon.
            daemon._logger.exception("the definitions could not be loaded; the old ones go on")
            return last_update


def follow_declarations(freshness: Freshness) -> None:
    """Let every daemon of this process ask when to load the definitions anew."""

    def check(self: Any, last_workspace_update_time: float) -> float:
        return freshness.check(self, last_workspace_update_time)

    # The interval is a constant of Dagster, and there is no public hook.
    controller.DagsterDaemonController.check_workspace_freshness = check


if __name__ == "__main__":
    follow_declarations(Freshness(Settings()))
    wait_for_room()
    main()
