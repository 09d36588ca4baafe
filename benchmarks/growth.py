"""How cost grows with data, history, projects and services: every curve of this folder, one after
the other, in about twenty minutes on an idle machine of two cores.

`python -m benchmarks growth`. Each prints its sizes, processor time and memory, the ratio to the
plain tool, and the exponent of growth: 0 is flat, 1 grows with the work.
"""

import importlib
import time

from benchmarks.measure import console

CURVES = (
    ("Rows of a dataset", "large_dataset"),
    ("Images of a dataset", "images"),
    ("Projects at rest", "projects"),
    ("Requests and rows that drift is measured on", "drift"),
    ("Models, versions, experiments and curves", "registry"),
    ("Runs, and what is removed of them", "collection"),
    ("Services at rest", "idle_services"),
    ("Trials of a simulation", "outcomes"),
)


def main() -> None:
    """Print every curve."""
    began = time.monotonic()
    for title, name in CURVES:
        console.rule(title)
        importlib.import_module(f"benchmarks.{name}").main()
    console.print(f"{(time.monotonic() - began) / 60:.0f} minutes in all")


if __name__ == "__main__":
    main()
