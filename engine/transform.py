"""One transformation of tables as a process: `python -m engine.transform SPEC`.

Calls a function of a project with the rows of datasets, and writes the rows that it gives. Tries
it on a sample, to know whether it gives the same rows again, and whether a row depends on others.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.protocol import JobResult, JobSpec, Refused, end_process, run_engine
from engine.rows import read_rows

SAMPLE = 1_000
"""Rows of each dataset that the function is tried on again."""
OUTPUT = "rows.parquet"


class TransformSpec(JobSpec):
    """One call of a function."""

    function: str
    """`module:function`."""
    python_path: list[str]
    """Folders that hold the module, besides the environment."""
    files: list[list[str]]
    """Parquet files of each dataset, in the order of the function's parameters."""


class TransformResult(JobResult):
    """What the function gave is `rows.parquet` in the work directory."""

    repeats: bool = True
    """Whether it gave the same rows of a sample twice."""
    is_row_by_row: bool = True
    """Whether a row came out the same without the rows that follow; true where rows come and go."""


def work(spec: TransformSpec) -> TransformResult:
    """Call the function. Raises Refused."""
    function = _function(spec)
    given = [read_rows(files) for files in spec.files]
    table = _called(function, spec.function, given)
    pq.write_table(table, spec.workdir / OUTPUT)
    sample = [rows.slice(0, SAMPLE) for rows in given]
    try:
        first, second = (_called(function, spec.function, sample) for _ in range(2))
    except Refused as error:
        # A function may need all rows; those that it gave of all are what counts.
        print(f"{spec.function} was not tried on a sample: {error}", flush=True)  # noqa: T201
        return TransformResult()
    keeps_rows = len(given) == 1 and (len(table), len(first)) == (len(given[0]), len(sample[0]))
    return TransformResult(
        repeats=are_alike(first, second),
        is_row_by_row=not keeps_rows or are_alike(first, table.slice(0, len(first))),
    )


def _function(spec: TransformSpec) -> Callable[..., Any]:
    module, _, name = spec.function.partition(":")
    sys.path[:0] = [folder for folder in spec.python_path if folder not in sys.path]
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        raise Refused(f"{spec.function} cannot be imported: {error}") from error


def _called(function: Callable[..., Any], name: str, tables: Sequence[pa.Table]) -> pa.Table:
    given = [table.to_pandas() for table in tables] if _takes_pandas(function) else tables
    try:
        result = function(*given)
    # It is the project's own, and raises what it does.
    except Exception as error:
        raise Refused(f"{name} raised {type(error).__name__}: {error}") from error
    if isinstance(result, pa.Table):
        return result
    if hasattr(result, "to_parquet"):
        try:
            return pa.Table.from_pandas(result, preserve_index=False)
        except pa.ArrowException as error:
            raise Refused(f"{name} gave a DataFrame that is no table: {error}") from error
    raise Refused(
        f"{name} gave {type(result).__name__}, expected a pyarrow Table or a pandas DataFrame: "
        "let the function return its rows"
    )


def _takes_pandas(function: Callable[..., Any]) -> bool:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    return first is not None and "DataFrame" in str(first.annotation)


def are_alike(one: pa.Table, other: pa.Table) -> bool:
    """Whether the tables hold the same rows, but for the last digits of numbers."""
    if one.schema.names != other.schema.names or len(one) != len(other):
        return False
    return all(
        _is_alike(left, right) for left, right in zip(one.columns, other.columns, strict=True)
    )


def _is_alike(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    if pa.types.is_floating(one.type) and pa.types.is_floating(other.type):
        return bool(np.allclose(one.to_numpy(), other.to_numpy(), equal_nan=True))
    return one.to_pylist() == other.to_pylist()


def output_of(workdir: Path) -> Path:
    """File with the rows of a job that has ended."""
    return workdir / OUTPUT


if __name__ == "__main__":
    end_process(run_engine(TransformSpec, work, sys.argv))
