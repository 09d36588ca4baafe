"""The queue of dagster_runs, each of which carries the user who started it.

The gateway is the only one who may reach a Dagster webserver, and sets the header itself; what
arrives from a browser under that name is dropped there.
"""

from dagster import DagsterRun
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from typing_extensions import override

from resources.orchestration.graphql import USER_HEADER, USER_TAG


class AttributingCoordinator(QueuedRunCoordinator):
    """Queues dagster_runs, tagged with who started them."""

    @override
    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Tag the dagster_run, then queue it."""
        if user := context.get_request_header(USER_HEADER):
            # Before it is queued, because a queued dagster_run may start at once.
            self._instance.add_run_tags(context.dagster_run.run_id, {USER_TAG: user})
        return super().submit_run(context)
