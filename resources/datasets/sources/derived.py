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

from engine.packed import is_packed, names_of
from engine.parent_death import die_with_parent
from engine.predict import OUTPUT as PREDICTED
from engine.predict import PredictSpec
from engine.protocol import JobResult, JobSpec
from engine.rows import dataset_of
from engine.transform import TransformResult, TransformSpec, output_of
from projects.dataset import Dataset
from resources.datasets.remarks import Remark
from resources.datasets.sources import large
from resources.datasets.sources.listing import Found, FoundFile
from resources.datasets.sources.parquet_stream import ParquetStream, is_steady
from resources.datasets.sources.queries import answered, rows_of
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.spool import Spool

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


def read_derived(
    declared: Dataset, origins: Origins, spool: Spool | None = None
) -> SourceRows | ParquetStream:
    """The rows that the declaration makes from the others'; with a spool a stream of them where
    they are large. Raises SourceUnreadable."""
    if declared.sql:
        return _queried(declared, declared.sql, origins, spool)
    make = _predicted if declared.predict else _transformed
    if spool is not None:
        return make(declared, origins, spool.folder(), is_kept=True)
    with tempfile.TemporaryDirectory(prefix="orrery-derived-") as folder:
        return make(declared, origins, Path(folder), is_kept=False)


def _queried(
    declared: Dataset, query: str, origins: Origins, spool: Spool | None
) -> SourceRows | ParquetStream:
    import duckdb

    with answered(query), duckdb.connect() as connection:
        for name in declared.from_:
            _register(connection, name, dataset_of(origins.files[name]))
        # The query reads the datasets that are declared, and no file of the machine.
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        return rows_of(connection.sql(query), query, declared.read, spool)


def _register(connection: Any, name: str, rows: Any) -> None:
    """Let queries name the rows, and the columns that packed ones stand for."""
    if not any(map(is_packed, rows.schema.types)):
        connection.register(name, rows)
        return
    connection.register(f"packed {name}", rows)
    columns = [
        f"{_quoted(field.name)}[{i}]::FLOAT AS {_quoted(each)}"
        if is_packed(field.type)
        else _quoted(each)
        for field in rows.schema
        for i, each in enumerate(names_of(field), 1)
    ]
    source = _quoted(f"packed {name}")
    connection.execute(f"CREATE VIEW {_quoted(name)} AS SELECT {', '.join(columns)} FROM {source}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _transformed(
    declared: Dataset, origins: Origins, folder: Path, *, is_kept: bool
) -> SourceRows | ParquetStream:
    assert declared.transform
    spec = TransformSpec(
        job="transform",
        workdir=folder,
        timeout_s=declared.timeout_s,
        function=declared.transform,
        python_path=list(origins.python_path),
        files=[list(origins.files[name]) for name in declared.from_],
    )
    result = _ended("engine.transform", spec, TransformResult, spec.function)
    rows = SourceRows(pa.table({}), tuple(_doubts(declared.transform, result)))
    return _rows_of(output_of(folder), declared, rows, is_kept)


def _predicted(
    declared: Dataset, origins: Origins, folder: Path, *, is_kept: bool
) -> SourceRows | ParquetStream:
    version = origins.version
    assert version is not None
    spec = PredictSpec(
        job="predict",
        workdir=folder,
        timeout_s=declared.timeout_s,
        artefact=version.artefact,
        artefact_digest=version.digest,
        model_version=version.number,
        files=list(origins.files[declared.from_[0]]),
    )
    _ended("engine.predict", spec, JobResult, f"the model {declared.predict}")
    # The version says who predicted, and is no feature.
    rows = SourceRows(pa.table({}), bookkeeping=frozenset({"model_version"}))
    return _rows_of(folder / PREDICTED, declared, rows, is_kept)


def _rows_of(
    file: Path, declared: Dataset, about: SourceRows, is_kept: bool
) -> SourceRows | ParquetStream:
    """The rows of the Parquet file: a stream where they are large, of steady types, and the file
    is kept."""
    import pyarrow.parquet as pq

    is_large = is_kept and file.stat().st_size >= large.LARGE_BYTES
    if not is_large or not is_steady(pq.read_schema(file), declared.read):
        return about.of(pq.read_table(file))
    found = Found(None, [FoundFile(str(file), file.name)], [])
    return ParquetStream(
        found, declared.read, declared.label, about.remarks, about.bookkeeping, is_spooled=True
    )


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
