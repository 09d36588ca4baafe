"""The one table of operations."""

from typing import Any

from api.operations import (
    accounts,
    agents,
    audit,
    callbacks,
    catalog,
    checkpoints,
    collection,
    datasets,
    experiments,
    inference,
    jobs,
    keys,
    recommendation,
    resubmission,
    runs,
    simulation,
)
from api.operations.operation import Operation

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    *jobs.OPERATIONS,
    *resubmission.OPERATIONS,
    *recommendation.OPERATIONS,
    *inference.OPERATIONS,
    *simulation.OPERATIONS,
    *experiments.OPERATIONS,
    *runs.OPERATIONS,
    *catalog.OPERATIONS,
    *checkpoints.OPERATIONS,
    *datasets.OPERATIONS,
    *accounts.OPERATIONS,
    *keys.OPERATIONS,
    *audit.OPERATIONS,
    *callbacks.OPERATIONS,
    *collection.OPERATIONS,
    *agents.OPERATIONS,
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
