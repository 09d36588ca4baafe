"""Memory of a process that serves this Bento: `python footprint.py` prints its peak in MiB.

It loads what a replica loads, and answers the registered example and a batch of the most rows that
are answered at once, where that takes no longer than `LONGEST_S`.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from model import Model
from runtime.request import RequestReader
from serve import configuration

HERE = Path(__file__).resolve().parent
# What a replica loads besides its model and its server.
LOADED = ("answer", "open_inference.rpc")
LONGEST_S = 5.0
PEAK = "VmHWM"


def answer_the_largest_batch(model: Model) -> None:
    """Answer as many rows as a batch has at most, unless one row takes too long for that."""
    rows: list[Any] = json.loads(model.example)
    most: int = model.identity["max_rows"]
    reader = RequestReader(model.signature, max(most, len(rows)))
    began = time.perf_counter()
    model.outputs(_tensors(reader, rows))
    row_s = (time.perf_counter() - began) / len(rows)
    if row_s * most <= LONGEST_S:
        model.outputs(_tensors(reader, (rows * (most // len(rows) + 1))[:most]))


def peak_mib() -> int:
    """Largest resident size of this process so far, by Linux' own account: what `getrusage` gives
    includes the process that started this one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, amount = line.partition(":")
        if name == PEAK:
            return int(amount.split()[0]) // 1024 + 1
    raise RuntimeError(f"/proc/self/status has no {PEAK}")


def _tensors(reader: RequestReader, rows: list[Any]) -> Any:
    return reader.read(b'{"inputs": %b}' % json.dumps(rows).encode()).tensors


if __name__ == "__main__":
    configuration(None, 0).load()
    for module in LOADED:
        importlib.import_module(module)
    answer_the_largest_batch(Model(HERE))
    sys.stdout.write(f"{peak_mib()}\n")
