"""What operations take and answer: job_resources.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""

from typing import TypedDict


class JobResourcesFields(TypedDict, total=False):
    """What one training job asks for, in place of what is declared."""

    gpu: str | None
    """Number and kind of GPUs, such as `4xA100` or `2`; each worker has one."""
    workers: int | None
    cpus_per_worker: int | None
    memory: str | None
    """Memory of each worker, such as `128Gi`."""
