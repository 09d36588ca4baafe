"""The controllers of kube-controller-manager that the tests' manifests need."""

from tests.cluster.double.api.client import Client
from tests.cluster.double.api.garbage import GarbageCollector, NamespaceController
from tests.cluster.double.controllers.controller import Controller
from tests.cluster.double.controllers.deployments import DeploymentController, ReplicaSetController
from tests.cluster.double.controllers.gateways import GatewayController
from tests.cluster.double.controllers.jobs import JobController
from tests.cluster.double.controllers.limit_ranges import LimitRanger
from tests.cluster.double.controllers.quotas import QuotaController

CONTROLLERS: tuple[type[Controller], ...] = (
    GarbageCollector,
    NamespaceController,
    # Before quotas, which count what it has filled in.
    LimitRanger,
    QuotaController,
    JobController,
    ReplicaSetController,
    DeploymentController,
    GatewayController,
)


class ControllerManager:
    """Starts and stops all of them."""

    def __init__(self, api: Client, more: tuple[Controller, ...] = ()):
        self.controllers = [*(each(api) for each in CONTROLLERS), *more]

    def start(self) -> None:
        """Starts every controller."""
        for each in self.controllers:
            each.start()

    def close(self) -> None:
        """Stops every controller."""
        for each in self.controllers:
            each.close()

    @property
    def failures(self) -> list[str]:
        """Tracebacks of what went wrong in them."""
        return [failure for each in self.controllers for failure in each.failures]
