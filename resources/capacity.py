"""What this machine has, for jobs that run on it."""

from pathlib import Path
from typing import NamedTuple

import psutil

UNITS = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Capacity(NamedTuple):
    """GPUs and memory of a machine."""

    gpus: int
    memory_bytes: int


def of_this_machine() -> Capacity:
    """What the embedded default can give a job."""
    gpus = len([p for p in Path("/dev").glob("nvidia[0-9]*") if p.name[6:].isdigit()])
    return Capacity(gpus, psutil.virtual_memory().total)


def bytes_of(memory: str) -> int:
    """Bytes of an amount such as `2Gi`."""
    return int(memory[:-2]) * UNITS[memory[-2:]]
