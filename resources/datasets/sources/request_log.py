"""The request log of a service as rows: a column for every input of the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.datasets.remarks import Remark
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.storage.log_lines import entries_of
from resources.storage.request_logs import RequestLogs

BOOKKEEPING = frozenset({"at", "model_version", "request_id"})
INPUTS = "inputs"
LOST = "lost"
WHY_LOST = {
    "pending": "requests that were answered and not logged, because more came than could be "
    "written: with services.*.request_log.sample below 1 those that are kept are a fair share",
    "failed": "requests that were answered and not logged, because the disk refused them: see the "
    "log of the replica, and make room",
}
"""By how the log of a replica names it."""
PLAIN = (int, float, str, bool, type(None))


def read_requests(service: str, logs: RequestLogs) -> SourceRows:
    """One row a logged request: when it came, its identity, the version that answered, the
    prediction, and a column for each value, or `input_0`, `input_1`, ... where they have no names.

    Raises SourceUnreadable when nothing is logged.
    """
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
    """The whole entries of a log; none where the file was deleted, as the oldest of a full log."""
    if not file.exists():
        return
    for entry in entries_of(file):
        content = entry.content or {}
        if isinstance(lost := content.get(LOST), dict):
            remarks += _lost(lost)
            continue
        given = content.get(INPUTS)
        if not isinstance(given, list) or not all(isinstance(v, PLAIN) for v in given):
            reason = "entries that are cut, or whose inputs are no list of values"
            remarks.append(
                Remark(
                    subject=INPUTS,
                    action="left_out",
                    count=1,
                    reason=reason,
                    example=f"{entry.text:.80}",
                    file=file.name,
                    line=entry.number,
                )
            )
            continue
        about = {name: value for name, value in content.items() if name != INPUTS}
        has_names = len(entry.columns) == len(given)
        names = entry.columns if has_names else [f"input_{i}" for i in range(len(given))]
        yield {**about, **dict(zip(names, map(_plain, given), strict=True))}


def _lost(counts: dict[str, int]) -> list[Remark]:
    return [
        Remark(subject=INPUTS, action="left_out", count=rows, reason=WHY_LOST.get(why, why))
        for why, rows in counts.items()
    ]


def _plain(value: Any) -> Any:
    # One type for the numbers of a column, whether or not a request wrote a decimal point.
    return float(value) if type(value) is int else value


def _column(name: str, values: list[Any], remarks: list[Remark]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        reason = "values of several types, all read as text"
        remarks.append(Remark(subject=name, action="converted", count=len(values), reason=reason))
        return pa.array([None if value is None else str(value) for value in values])
