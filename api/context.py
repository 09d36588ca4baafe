"""What the gateway works with: settings, the control database, and the adapters behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from accounts import audit, first_start, keys, organizations
from accounts.first_start import Owner
from accounts.principal import Principal
from accounts.secret import InstanceSecret
from api.projects import DeclaredProjects
from api.settings import GatewaySettings
from resources import adapters
from resources.compute.contract import Compute
from resources.database.control import Control, secret_bytes
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.events import DagsterEvents
from resources.orchestration.run_workers import RunWorkers
from resources.services.local import Runtime
from resources.settings import Settings
from resources.storage.evidence import EvidenceStore
from resources.storage.object_store import ObjectStore
from resources.tracking.adapter import Tracking
from resources.tracking.experiments import Experiments
from scheduler.budgets import Prices

if TYPE_CHECKING:
    from api.jobs.idempotency import Claim


class Platform:
    """The adapters that the gateway works with, each made at first use."""

    def __init__(
        self, settings: Settings, gateway: GatewaySettings, cluster: ClusterSettings
    ) -> None:
        self.settings, self.gateway, self._cluster = settings, gateway, cluster
        self.control = Control(settings.control_url)
        self._key_names: dict[str, str] = {}
        self.work_is_waiting: Callable[[], None] = lambda: None
        """Told when the dispatcher has something to do; safe to call from any thread."""
        self.declarations_changed: Callable[[], None] = lambda: None
        """Told when Dagster must load its definitions anew."""
        self.rights_changed: Callable[[], None] = lambda: None
        """Told when somebody's rights have changed, so that nobody is remembered."""

    @cached_property
    def secret(self) -> InstanceSecret:
        """The instance's secret."""
        return InstanceSecret(secret_bytes(self.settings.instance_secret_file))

    def owner(self) -> Owner:
        """The owner of this instance; created, with an admin key, at the first start."""
        name, key_file = self.settings.organization, self.settings.admin_key_file
        return first_start.owner(self.control, self.secret, name, key_file)

    @cached_property
    def first_organization(self) -> str:
        """The organization that owns the projects of the checkout."""
        with self.control.read() as connection:
            organization = organizations.first(connection)
        return organization.id if organization else self.settings.organization

    @cached_property
    def projects(self) -> DeclaredProjects:
        """Declared projects, as each organization sees them."""
        return DeclaredProjects(self.settings, self.gateway, self.first_organization)

    @cached_property
    def events(self) -> DagsterEvents:
        """What Dagster has recorded."""
        return DagsterEvents()

    @cached_property
    def tracking(self) -> Tracking:
        """MLflow's registry."""
        s = self.settings
        return Tracking(s.tracking_uri, s.mlflow_artifacts, s.mlflow_url)

    @cached_property
    def experiments(self) -> Experiments:
        """MLflow's experiments."""
        s = self.settings
        return Experiments(s.tracking_uri, s.mlflow_artifacts, s.mlflow_url)

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        return adapters.object_store(self.settings)

    @cached_property
    def evidence(self) -> EvidenceStore:
        """Evidence of simulations."""
        return EvidenceStore(self.objects)

    @cached_property
    def compute(self) -> Compute:
        """Where engines run."""
        return adapters.compute(self.settings, self._cluster)

    @cached_property
    def run_workers(self) -> RunWorkers:
        """What executes dagster_runs."""
        return adapters.run_workers(self._cluster)

    @cached_property
    def runtime(self) -> Runtime:
        """What serves."""
        return adapters.runtime(self.settings, self._cluster, is_brief=True)

    def key_name(self, key_id: str) -> str | None:
        """Name of an API key, also of a revoked one; it never changes."""
        if key_id not in self._key_names:
            with self.control.read() as connection:
                key = keys.find(connection, key_id)
            if key is None:
                return None
            self._key_names[key_id] = key.name
        return self._key_names[key_id]

    @property
    def prices(self) -> Prices:
        """What an hour costs."""
        return Prices(self.gateway.price_gpu_h, self.gateway.price_process_h)


class PreviewReached(Exception):
    """The operation would be carried out: nothing stands against it."""

    def __init__(self, order: Any = None) -> None:
        super().__init__("a preview changes nothing")
        self.order = order


@dataclass(frozen=True)
class Call:
    """One operation asked for by somebody."""

    platform: Platform
    principal: Principal
    operation: str
    on_behalf_of: str | None = None
    """Who the caller acts for, where it says so: an agent for a person."""
    idempotency_key: str | None = None
    is_preview: bool = False
    """Whether to end where the operation would begin to change something."""
    repeats: str | None = None
    """Id of the past job that is submitted again."""
    claim: "Claim | None" = None
    """Of the idempotency key; completed in the transaction of what is changed."""

    def begin_change(self, order: Any = None) -> None:
        """To be called once everything was validated, and before anything is changed.

        Raises PreviewReached in a preview, with the order of the job where there is one.
        """
        if self.is_preview:
            raise PreviewReached(order)

    def audited(
        self,
        connection: Connection,
        object: str,
        *,
        before: object = None,
        after: object = None,
        reason: str = "",
    ) -> None:
        """Record the change in the audit, within its own transaction."""
        audit.record(
            connection,
            organization=self.principal.organization,
            actor=str(self.principal),
            on_behalf_of=self.on_behalf_of,
            action=self.operation,
            object=object,
            reason=reason or f"role {self.principal.role}",
            before=before,
            after=after,
        )
