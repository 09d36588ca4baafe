"""Run benchmarks by name: `python -m benchmarks [NAME ...]`; without a name, all of them."""

import importlib
import sys

NAMES = (
    "imports",
    "simulation",
    "steps",
    "search",
    "trees",
    "tabular",
    "datasets",
    "images",
    "large_dataset",
    "service",
    "idle_services",
    "inference",
    "names",
    "start",
    "gateway",
    "lists",
    "drift",
    "outcomes",
    "cluster",
    "projects",
    "registry",
    "collection",
)
OF_OTHERS = ("growth",)
"""Run some of the above, one after the other."""


def main(names: list[str]) -> int:
    """Exit code; prints each benchmark's table."""
    known = (*NAMES, *OF_OTHERS)
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there is {', '.join(known)}")
        return 2
    for name in names or NAMES:
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
