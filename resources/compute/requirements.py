"""What a job needs of the machine or the cluster it runs on."""

import math
from dataclasses import dataclass, field
from typing import Any

from projects.log_rule import LogRule
from projects.placement import Placement
from projects.schema import Model, Service, Simulation

SPARE = 1.5
STEP_MIB = 32
UNMEASURED_MIB = 1024
LEAST_LIMIT_MIB = 1024


@dataclass(frozen=True)
class Requirements:
    """Workers of one job, what each of them gets, and where they may run; a replica is a worker."""

    workers: int = 1
    min_workers: int = 1
    """Fewest workers the job goes on with."""
    cpus_per_worker: float = 1
    gpus_per_worker: int = 0
    gpu_kind: str | None = None
    memory: str = "2Gi"
    """Of each worker."""
    memory_limit: str | None = None
    """Memory above which a worker is ended; `memory` where there is none."""
    image: str | None = None
    env_vars: dict[str, str] = field(default_factory=dict)
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: list[dict[str, Any]] = field(default_factory=list)
    queue: str | None = None
    priority: str | None = None
    log_rules: tuple[LogRule, ...] = ()
    """What lines of its log ask for where it does not end well."""

    @classmethod
    def of(cls, model: Model, **changes: Any) -> "Requirements":
        """What the declared training needs, with what one dagster_run changes about it."""
        resources, place = model.resources, model.placement
        declared: dict[str, Any] = {
            **resources.model_dump(exclude={"min_workers"}),
            **{name: value for name, value in changes.items() if value is not None},
        }
        fewest = min(resources.min_workers or declared["workers"], declared["workers"])
        if model.search:
            # Trials side by side each have what one training has.
            declared["workers"] *= model.search.at_once
            fewest = declared["workers"]
        rules = tuple(model.log_rules)
        return cls(**declared, min_workers=fewest, log_rules=rules, **_placed(place))

    @classmethod
    def of_service(cls, service: Service, replica_mib: int | None = None) -> "Requirements":
        """What each replica of the declared service needs, one of which took so much memory when
        it was measured."""
        resources = service.resources
        memory, limit = resources.memory, None
        if memory is None:
            mib = UNMEASURED_MIB if replica_mib is None else _rounded_up(replica_mib * SPARE)
            memory, limit = f"{mib}Mi", f"{max(LEAST_LIMIT_MIB, 2 * mib)}Mi"
        return cls(
            cpus_per_worker=resources.cpus,
            memory=memory,
            memory_limit=limit,
            **_placed(service.placement),
        )

    @classmethod
    def of_simulation(cls, simulation: Simulation) -> "Requirements":
        """What one run of the declared suite needs."""
        resources = simulation.resources
        return cls(
            cpus_per_worker=resources.cpus,
            gpus_per_worker=resources.gpus,
            gpu_kind=resources.gpu_kind,
            memory=resources.memory,
            **_placed(simulation.placement),
        )


def _rounded_up(mib: float) -> int:
    return math.ceil(mib / STEP_MIB) * STEP_MIB


def _placed(place: Placement) -> dict[str, Any]:
    return {
        "image": place.image,
        "env_vars": place.env_vars,
        "node_selector": place.node_selector,
        "tolerations": [each.model_dump(exclude_none=True) for each in place.tolerations],
        "queue": place.queue,
        "priority": place.priority,
    }
