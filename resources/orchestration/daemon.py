"""Dagster's daemon, whose sensors and schedules follow the declarations within seconds:
`python -m resources.orchestration.daemon run`.

Dagster's own loads all definitions anew every minute, whether they have changed or not.
"""

import sys
import time
from typing import Any

from dagster._daemon import controller
from dagster._daemon.cli import main
from dagster_shared.error import DagsterError

from resources.api_projects import ApiProjects
from resources.declarations import Declarations
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.code_server import wait_for_code_server, workspace_of
from resources.orchestration.run_queue import look_when_woken
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


def leave_definitions_alone() -> None:
    """Let no daemon of this process load the definitions anew by the clock."""

    def check(self: Any, last_workspace_update_time: float) -> float:
        return last_workspace_update_time

    controller.DagsterDaemonController.check_workspace_freshness = check


def run(settings: Settings, arguments: list[str]) -> None:
    """Run Dagster's command line; its daemon works on the definitions of the settings."""
    if settings.code_server is None:
        follow_declarations(Freshness(settings))
    else:
        # Dagster itself follows what a code server holds.
        leave_definitions_alone()
        wait_for_code_server(settings)
    wait_for_room()
    if not ClusterSettings().is_used:
        # Elsewhere what is queued comes from other machines.
        look_when_woken(settings.queue_socket)
    sys.argv[1:] = [*arguments, "-w", str(workspace_of(settings))]
    main()


if __name__ == "__main__":
    run(Settings(), sys.argv[1:])
