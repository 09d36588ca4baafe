"""Every operation of the platform, by group.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from orrery.connection import Connection
from orrery.operations.account import AccountOperations
from orrery.operations.agent import AgentOperations
from orrery.operations.audit import AuditOperations
from orrery.operations.callbacks import CallbacksOperations
from orrery.operations.checkpoints import CheckpointsOperations
from orrery.operations.collections import CollectionsOperations
from orrery.operations.datasets import DatasetsOperations
from orrery.operations.experiments import ExperimentsOperations
from orrery.operations.jobs import JobsOperations
from orrery.operations.keys import KeysOperations
from orrery.operations.models import ModelsOperations
from orrery.operations.organizations import OrganizationsOperations
from orrery.operations.projects import ProjectsOperations
from orrery.operations.runs import RunsOperations
from orrery.operations.services import ServicesOperations
from orrery.operations.simulate import SimulateOperations
from orrery.operations.train import TrainOperations
from orrery.operations.users import UsersOperations


class Operations:
    """Every operation of the platform, by group."""

    def __init__(self, connection: Connection) -> None:
        self.train = TrainOperations(connection)
        self.jobs = JobsOperations(connection)
        self.services = ServicesOperations(connection)
        self.simulate = SimulateOperations(connection)
        self.models = ModelsOperations(connection)
        self.experiments = ExperimentsOperations(connection)
        self.runs = RunsOperations(connection)
        self.projects = ProjectsOperations(connection)
        self.checkpoints = CheckpointsOperations(connection)
        self.datasets = DatasetsOperations(connection)
        self.account = AccountOperations(connection)
        self.organizations = OrganizationsOperations(connection)
        self.users = UsersOperations(connection)
        self.keys = KeysOperations(connection)
        self.audit = AuditOperations(connection)
        self.callbacks = CallbacksOperations(connection)
        self.collections = CollectionsOperations(connection)
        self.agent = AgentOperations(connection)
