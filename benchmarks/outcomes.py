"""The results of a suite, written and measured: processor seconds and peak memory by the number of
trials, against one table that holds a text for every cell. Each contender is a process of its own;
`python -m benchmarks.outcomes WHO TRIALS`."""

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.table import Table

from benchmarks.measure import console, peak_mib
from simulations.outcomes import Outcomes, Scenario, write_outcomes

TRIALS = (10_000, 100_000, 1_000_000)
SCENARIOS, METRICS = 20, ("survival", "return", "cost")
WHO = ("nothing", "one table", "platform")


def main() -> None:
    """Print CPU milliseconds and MiB beyond the values themselves, and the exponents of both."""
    heads = [f"{trials:.0e}" for trials in TRIALS]
    title = "Results of a suite by trials (aim: memory of the platform with exponent 0)"
    table = Table("", *heads, "exponent of time", "of memory", title=title)
    said = {(who, trials): _measured(who, trials) for trials in TRIALS for who in WHO}
    for who in WHO[1:]:
        cpu = [said[who, trials]["cpu_s"] for trials in TRIALS]
        mib = [said[who, t]["mib"] - said["nothing", t]["mib"] for t in TRIALS]
        shown = [f"{1e3 * c:.0f} ms, {m:.0f} MiB" for c, m in zip(cpu, mib, strict=True)]
        table.add_row(who, *shown, *(f"{_exponent(each):.2f}" for each in (cpu, mib)))
    console.print(table)


def _exponent(values: list[float]) -> float:
    # Of the last tenfold, where what a process takes anyway weighs least.
    return math.log10(max(values[-1], 1e-9) / max(values[-2], 1e-9))


def _measured(who: str, trials: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.outcomes", who, str(trials)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def _outcomes(trials: int) -> list[Outcomes]:
    generator = np.random.default_rng(0)
    scenarios = [Scenario(f"gravity {n} sensor_noise 0.1", {}, n % 2 == 0) for n in range(20)]
    shape = (SCENARIOS, 4, trials // SCENARIOS // 4)
    return [
        Outcomes(metric, False, scenarios, [0, 1, 2, 3], generator.normal(size=shape), False)
        for metric in METRICS
    ]


def one_table(all_outcomes: list[Outcomes], file: Path) -> None:
    """A table in memory whose cells are texts."""
    import pyarrow.parquet as pq

    tables = []
    for outcomes in all_outcomes:
        scenarios, seeds, units = outcomes.values.shape
        names = pa.array([s.name for s in outcomes.scenarios])
        which = pa.array(np.repeat(np.arange(scenarios, dtype=np.int32), seeds * units))
        columns = {
            "metric": pa.array([outcomes.metric] * outcomes.values.size),
            "scenario": pa.DictionaryArray.from_arrays(which, names).cast(pa.string()),
            "gated": np.repeat([s.gated for s in outcomes.scenarios], seeds * units),
            "seed": np.tile(np.repeat(outcomes.seeds, units), scenarios),
            "unit": np.tile(np.arange(units), scenarios * seeds),
            "value": outcomes.values.ravel(),
        }
        tables.append(pa.table(columns).filter(~np.isnan(outcomes.values.ravel())))
    pq.write_table(pa.concat_tables(tables), file, compression="zstd")


def contend(who: str, trials: int) -> None:
    """Print processor seconds and peak memory of one contender as JSON."""
    import pyarrow.parquet as pq

    from simulations.intervals import measure

    # Loads what every contender needs.
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.table({"a": [1.0]}), Path(folder, "a.parquet"), compression="zstd")
        all_outcomes = _outcomes(trials)
        began = time.process_time()
        if who != "nothing":
            write = one_table if who == "one table" else write_outcomes
            write(all_outcomes, Path(folder, "results.parquet"))
            for outcomes in all_outcomes:
                measure(outcomes, 0.95)
        print(json.dumps({"cpu_s": time.process_time() - began, "mib": peak_mib()}))


if __name__ == "__main__":
    contend(sys.argv[1], int(sys.argv[2]))
