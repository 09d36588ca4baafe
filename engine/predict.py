"""Predictions for the rows of a dataset as a process: `python -m engine.predict SPEC`.

Reads the rows in batches, so that memory does not grow with their number.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.artefact import ArtefactCorrupt, Signature, read_signature, verify
from engine.packed import unpacked_schema
from engine.protocol import JobResult, JobSpec, Refused, end_process, run_engine
from engine.rows import columns_of, dataset_of, read_batches
from engine.runtime.model import Model
from engine.runtime.predictions import predictions_of, probabilities_of
from engine.runtime.tensors import Misfit, tensors_of

ROWS_AT_ONCE = 8_192
OUTPUT = "rows.parquet"
ADDED = ("prediction", "probability", "model_version")
"""Columns beside those of the rows; `probability` is that of the predicted class."""


class PredictSpec(JobSpec):
    """Rows, and the model version that predicts for them."""

    artefact: Path
    artefact_digest: str
    model_version: int
    files: list[str]
    """Parquet files of the rows."""


def work(spec: PredictSpec) -> JobResult:
    """Write the rows with their predictions. Raises Refused."""
    try:
        verify(spec.artefact, spec.artefact_digest)
    except ArtefactCorrupt as error:
        raise Refused(str(error)) from error
    rows = dataset_of(spec.files)
    signature = read_signature(spec.artefact)
    _require_columns(unpacked_schema(rows.schema).names, signature)
    writer, done = None, 0
    try:
        for table in _predicted(spec, signature):
            writer = writer or pq.ParquetWriter(spec.workdir / OUTPUT, table.schema)
            writer.write_table(table)
            done += len(table)
            print(f"predicted for {done} rows", flush=True)  # noqa: T201
    finally:
        if writer:
            writer.close()
    if not done:
        raise Refused("the dataset has no rows to predict for")
    return JobResult()


def _require_columns(known: list[str], signature: Signature) -> None:
    if signature.task == "control" or not signature.columns:
        raise Refused("the model takes no rows of columns, so there is nothing to predict for")
    if missing := [name for name in signature.features if name not in known]:
        raise Refused(
            f"the model takes the column {missing[0]!r}, expected it among those of the dataset: "
            f"{', '.join(known)}"
        )
    if taken := [name for name in ADDED if name in known]:
        raise Refused(
            f"the dataset has a column {taken[0]!r}, which predictions are named; rename it by "
            "sql in a dataset between them"
        )


def _predicted(spec: PredictSpec, signature: Signature) -> Iterator[pa.Table]:
    model = Model(spec.artefact)
    inputs = [each.model_dump() for each in signature.inputs]
    for batch in read_batches(spec.files, size=ROWS_AT_ONCE):
        if not len(batch):
            continue
        table = pa.Table.from_batches([batch])
        try:
            tensors = tensors_of(columns_of(table, signature.columns), inputs)
        except (Misfit, pa.ArrowException) as error:
            raise Refused(f"the model cannot take the rows of the dataset: {error}") from error
        answers = model.answers(tensors)
        predictions = pa.array(predictions_of(model.signature, answers))
        probabilities = probabilities_of(model.signature, answers)
        table = table.append_column(ADDED[0], predictions)
        if probabilities is not None:
            table = table.append_column(ADDED[1], pa.array(probabilities.max(axis=1)))
        versions = pa.array([spec.model_version] * len(table), pa.int64())
        yield table.append_column(ADDED[2], versions)


if __name__ == "__main__":
    end_process(run_engine(PredictSpec, work, sys.argv))
