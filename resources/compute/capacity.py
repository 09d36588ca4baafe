"""What this machine has, for jobs that run on it."""

from pathlib import Path
from typing import NamedTuple

import psutil

from resources.compute.requirements import Requirements

UNITS = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Capacity(NamedTuple):
    """GPUs and memory of a machine."""

    gpus: list[str]
    """Name of each GPU; empty text where the driver does not tell it."""
    memory_bytes: int

    def lack_of(self, requirements: Requirements) -> str:
        """Why the machine can never give what is needed, in a sentence; empty where it can."""
        fitting = [
            name for name in self.gpus if (requirements.gpu_kind or "").lower() in name.lower()
        ]
        gpus = requirements.workers * requirements.gpus_per_worker
        if gpus > len(fitting):
            kind = f" of kind {requirements.gpu_kind}" if requirements.gpu_kind else ""
            there = ", ".join(self.gpus) if any(self.gpus) else str(len(self.gpus))
            return f"the job asks for {gpus} GPUs{kind}; this machine has {there}"
        memory = requirements.workers * bytes_of(requirements.memory)
        if memory > self.memory_bytes:
            return (
                f"the job asks for {memory / 2**30:.0f} GiB of memory; this machine has "
                f"{self.memory_bytes / 2**30:.0f}"
            )
        return ""


def of_this_machine() -> Capacity:
    """What the embedded default can give a job."""
    # Counted without a library, because nvidia-ml-py is in the extra `train` alone.
    devices = [p for p in Path("/dev").glob("nvidia[0-9]*") if p.name[6:].isdigit()]
    return Capacity(_names(len(devices)), psutil.virtual_memory().total)


def memory_kills() -> int:
    """How often the kernel has killed a process of this machine because memory had run out."""
    try:
        counts = Path("/proc/vmstat").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in counts.splitlines() if line.startswith("oom_kill ")]
    return int(found[0]) if found else 0


def _names(devices: int) -> list[str]:
    if not devices:
        return []
    try:
        import pynvml
    except ImportError:
        return [""] * devices
    try:
        pynvml.nvmlInit()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    except pynvml.NVMLError:
        # Without the driver's library the devices count, and their kinds are not known.
        return [""] * devices


def bytes_of(memory: str) -> int:
    """Bytes of an amount such as `2Gi`."""
    return int(memory[:-2]) * UNITS[memory[-2:]]
