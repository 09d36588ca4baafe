"""What jobs and services ask of machines, and where on a cluster they run."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from projects.declared import Declared, Name

Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-zA-Z0-9_./:@-]*$", max_length=255)]
Label = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_./-]*$", max_length=253)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Memory = Annotated[str, StringConstraints(pattern=r"^[1-9]\d*(Mi|Gi|Ti)$")]
GpuKind = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class Resources(Declared):
    """What one training job asks for."""

    workers: int = Field(default=1, ge=1, le=1024)
    gpus_per_worker: int = Field(default=0, ge=0, le=16)
    gpu_kind: GpuKind | None = None
    """Kind of the GPUs, such as `A100`; any kind by default. On a cluster it is one of
    `ORRERY_CLUSTER_GPU_KINDS`, elsewhere a part of the device's name."""
    cpus_per_worker: int = Field(default=1, ge=1, le=512)
    memory: Memory = "2Gi"
    """Memory of each worker, such as `2Gi`."""
    min_workers: int | None = Field(default=None, ge=1)
    """Fewest workers that the job goes on with when others are lost; by default all of them."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if (self.min_workers or 1) > self.workers:
            raise ValueError(f"got min_workers {self.min_workers} above workers {self.workers}")
        return self


class Toleration(Declared):
    """A taint of nodes that pods accept, as Kubernetes writes it."""

    key: Label | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Placement(Declared):
    """Where on a cluster pods run, and with what; only `env_vars` means something elsewhere."""

    image: Image | None = None
    """Image in place of the platform's own; it must hold the platform's engines."""
    env_vars: dict[Variable, str] = {}
    """Environment variables of the processes. No secrets: what is declared is shown."""
    node_selector: dict[Label, str] = {}
    """Labels that a node must have."""
    tolerations: list[Toleration] = []
    queue: Name | None = None
    """Kueue LocalQueue that admits the job."""
    priority: Name | None = None
    """Kueue WorkloadPriorityClass: who goes first, and who may be pre-empted."""


class SimulationResources(Declared):
    """What the process of one run of a suite asks for."""

    cpus: int = Field(default=1, ge=1, le=512)
    gpus: int = Field(default=0, ge=0, le=16)
    gpu_kind: GpuKind | None = None
    """Kind of the GPUs, such as `A100`; any kind by default."""
    memory: Memory = "2Gi"


class ServiceResources(Declared):
    """What each replica of a service asks for on a cluster."""

    cpus: float = Field(default=0.1, gt=0, le=512)
    """Processors that are kept for it; it may use what is idle besides."""
    memory: Memory | None = None
    """Memory that it asks for and may not exceed, such as `2Gi`. By default it asks for half as
    much again as a replica took when the model was packaged, and may take 1 GiB, or twice what it
    asks for."""
