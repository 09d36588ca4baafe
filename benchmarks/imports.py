"""Time and memory of the process that loads the definitions, against Dagster alone."""

import subprocess
import sys

from benchmarks.measure import in_turns, show

REPEATS = 5
CODE = (
    "import resource, time; began = time.perf_counter(); {work}; "
    "print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
)
WORK = {
    "import dagster": "import dagster",
    "load the definitions": "import definitions; definitions.defs()",
}


def main() -> None:
    """Print seconds and MiB."""
    memory: dict[str, list[float]] = {name: [] for name in WORK}

    def run(name: str) -> float:
        code = CODE.format(work=WORK[name])
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, mebibytes = map(float, done.stdout.split())
        memory[name].append(mebibytes)
        return seconds

    times = in_turns({name: lambda name=name: run(name) for name in WORK}, REPEATS)
    show("Loading the definitions", "s", times, "import dagster", "no heavy module")
    show("Memory of that process", "MiB", memory, "import dagster", "no heavy module")
