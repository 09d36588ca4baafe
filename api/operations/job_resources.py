"""What a request asks of machines for one training job."""

from typing import Annotated

from pydantic import Field, StringConstraints

from api.operations.operation import Input
from projects.placement import Memory

Gpu = Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,3}(x[A-Za-z0-9_-]{1,40})?$")]


class JobResources(Input):
    """What one training job asks for, in place of what is declared."""

    gpu: Gpu | None = None
    """Number and kind of GPUs, such as `4xA100` or `2`; each worker has one."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    cpus_per_worker: int | None = Field(default=None, ge=1, le=512)
    memory: Memory | None = None
    """Memory of each worker, such as `128Gi`."""
