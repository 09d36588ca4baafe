"""The adapter to what makes a dataset from others: DuckDB, a function of the project,
or a model.

timeout: `timeout_s` of the declaration for a function or a model, which is then killed with all
    its processes; DuckDB has none.
retry: none; a query or a function that fails would fail again.
cancel: the process of a function or a model ends with the one that waits for it.
duplicate: nothing is written but in a temporary folder, which goes with the call.
partial write: rows are read once the process has ended without a failure.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from engine.parent_death import die_with_parent
from engine.predict import OUTPUT as PREDICTED
from engine.predict import PredictSpec
from engine.protocol import JobResult, JobSpec
from engine.rows import dataset_of
from engine.transform import TransformResult, TransformSpec, output_of
from projects.dataset import Dataset
from resources.datasets.remarks import Remark
from resources.datasets.sources.queries import failure_of, ordered
from resources.datasets.sources.rows import SourceRows, SourceUnreadable

R = TypeVar("R", bound=JobResult)


@dataclass(frozen=True)
class Predictor:
    """The model version that predicts."""

    artefact: Path
    """Folder of its artefact."""
    digest: str
    number: int


@dataclass(frozen=True)
class Origins:
    """What a dataset is made from."""

    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Parquet files of the version of each dataset."""
    python_path: Sequence[str] = ()
    """Folders that hold the functions of the project."""
    version: Predictor | None = None
    """The champion that predicts, where one does."""


def read_derived(declared: Dataset, origins: Origins) -> SourceRows:
    """The rows that the declaration makes from the others'. Raises SourceUnreadable."""
    if declared.sql:
        return _queried(declared, origins)
    if declared.predict:
        return _predicted(declared, origins)
    return _transformed(declared, origins)


def _queried(declared: Dataset, origins: Origins) -> SourceRows:
    import duckdb

    assert declared.sql
    try:
        with duckdb.connect() as connection:
            for name in declared.from_:
                connection.register(name, dataset_of(origins.files[name]))
            # The query reads the datasets that are declared, and no file of the machine.
            connection.execute("SET enable_external_access = false; SET lock_configuration = true")
            relation = connection.sql(declared.sql)
            if relation is None:
                raise SourceUnreadable(f"{declared.sql:.200}: no rows; expected a SELECT")
            table = relation.to_arrow_table()
    except duckdb.Error as error:
        raise SourceUnreadable(f"{failure_of(error)}: {declared.sql:.200}") from error
    return ordered(table, declared.sql, declared.read)


def _transformed(declared: Dataset, origins: Origins) -> SourceRows:
    assert declared.transform
    with tempfile.TemporaryDirectory(prefix="orrery-transform-") as folder:
        spec = TransformSpec(
            job="transform",
            workdir=Path(folder),
            timeout_s=declared.timeout_s,
            function=declared.transform,
            python_path=list(origins.python_path),
            files=[list(origins.files[name]) for name in declared.from_],
        )
        result = _ended("engine.transform", spec, TransformResult, spec.function)
        table = _read(output_of(spec.workdir))
    return SourceRows(table, tuple(_doubts(declared.transform, result)))


def _read(file: Path) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(file)


def _predicted(declared: Dataset, origins: Origins) -> SourceRows:
    version = origins.version
    assert version is not None
    with tempfile.TemporaryDirectory(prefix="orrery-predict-") as folder:
        spec = PredictSpec(
            job="predict",
            workdir=Path(folder),
            timeout_s=declared.timeout_s,
            artefact=version.artefact,
            artefact_digest=version.digest,
            model_version=version.number,
            files=list(origins.files[declared.from_[0]]),
        )
        _ended("engine.predict", spec, JobResult, f"the model {declared.predict}")
        table = _read(Path(folder, PREDICTED))
    # The version says who predicted, and is no feature.
    return SourceRows(table, bookkeeping=frozenset({"model_version"}))


def _ended(module: str, spec: JobSpec, kind: type[R], what: str) -> R:
    """The result of the engine's process. Raises SourceUnreadable."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(spec.write())],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        process.wait(spec.timeout_s)
    except subprocess.TimeoutExpired:
        raise SourceUnreadable(
            f"{what} did not end within {spec.timeout_s:g} s; make it faster, or declare a longer "
            "timeout_s"
        ) from None
    finally:
        # It may have started processes of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = kind.read(spec.workdir)
    if result is None:
        raise SourceUnreadable(
            f"the process of {what} ended with {process.returncode} and no result; it may have "
            "needed more memory than there is, so declare memory"
        )
    if result.failure:
        raise SourceUnreadable(result.failure.message)
    return result


def _doubts(function: str, result: TransformResult) -> list[Remark]:
    found: dict[str, Any] = {
        "two calls with the same rows gave different ones, so the version cannot be made again; "
        "seed what is random and depend on no clock": result.repeats,
        "a row comes out different without the rows that follow it, so held-out rows reach those "
        "that are learned from; put steps that learn from all rows into the model": (
            result.is_row_by_row
        ),
    }
    return [
        Remark(subject=function, about="function", action="uncertain", count=1, reason=reason)
        for reason, holds in found.items()
        if not holds
    ]
