"""The request log of a service as rows: a column for every input of the model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.datasets.remarks import Remark
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.storage.request_logs import RequestLogs

BOOKKEEPING = frozenset({"at", "model_version"})
INPUTS = "inputs"


def read_requests(service: str, logs: RequestLogs) -> SourceRows:
    """One row a logged request: when it came, the version that answered, the prediction, and
    `input_0`, `input_1`, ... Raises SourceUnreadable when nothing is logged."""
    files = logs.files(service)
    if not files:
        raise SourceUnreadable(
            f"service {service} has answered no logged request yet; send it some, and leave "
            "request_log enabled"
        )
    remarks: list[Remark] = []
    rows = [row for file in files for row in _rows(file, remarks)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _column(name, [row.get(name) for row in rows], remarks) for name in names}
    return SourceRows(pa.table(columns), tuple(remarks), BOOKKEEPING)


def _rows(file: Path, remarks: list[Remark]) -> Iterator[dict[str, Any]]:
    """The whole entries of a log: the last line may be cut by a crash."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            features = [float(value) for value in entry.pop(INPUTS)]
        except (ValueError, TypeError, KeyError, AttributeError):
            reason = "entries that are cut, or whose inputs are no list of numbers"
            remarks.append(
                Remark(
                    subject=INPUTS,
                    action="left_out",
                    count=1,
                    reason=reason,
                    example=f"{line:.80}",
                    file=file.name,
                    line=number,
                )
            )
            continue
        yield {**entry, **{f"input_{i}": value for i, value in enumerate(features)}}


def _column(name: str, values: list[Any], remarks: list[Remark]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        reason = "values of several types, all read as text"
        remarks.append(Remark(subject=name, action="converted", count=len(values), reason=reason))
        return pa.array([None if value is None else str(value) for value in values])
