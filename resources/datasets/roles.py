"""What the columns with a role decide, which are read before all others: the split of every row,
and what is predicted."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from engine.artefact import SplitContent
from projects.dataset import Dataset
from resources.datasets.arrow import pc
from resources.datasets.blocks import digest_of_block
from resources.datasets.profiling import class_counts_of
from resources.datasets.splits import SPLITS, names_of, split_of
from resources.datasets.streams import RowStream
from resources.datasets.tasks import Decision, decide
from resources.datasets.weights import require_weights


class Roles(NamedTuple):
    """The columns with a role, of all rows."""

    table: pa.Table
    codes: np.ndarray
    """Code of every row's split, int8."""
    decision: Decision | None
    classes: pa.ChunkedArray | None
    """The labels, where they are classes."""

    @classmethod
    def read(cls, stream: RowStream, declared: Dataset) -> "Roles":
        """Raises UnusableColumns, SourceUnreadable or SourceUnreachable."""
        wanted = list(dict.fromkeys(declared.roles.values()))
        # Without a column with a role, the narrowest tells the number of rows.
        table = pa.concat_tables(list(stream.tables(wanted or stream.schema.names[:1])))
        by = declared.split.group or declared.split.time
        labels = table.column(declared.label) if declared.label else None
        decision = None
        if labels is not None:
            decision = decide(declared.label or "", labels, declared.task)
        if declared.weight:
            require_weights(declared.weight, table.column(declared.weight))
        task = decision.task if decision else None
        divided_by = table.column(by) if by else None
        codes = split_of(table.num_rows, labels, declared.split, task, divided_by)
        return cls(table, codes, decision, labels if task == "classification" else None)

    def are_of(self, rows: pa.Table, begin: int) -> bool:
        """Whether the rows, of which the first has the number, have the same values still."""
        known, again = self.table.slice(begin, rows.num_rows), rows.select(self.table.column_names)
        return len(known) == len(again) and _digest(known) == _digest(again)

    def class_counts(self) -> dict[str, int]:
        """Rows by class, where the label has classes."""
        return class_counts_of(self.classes) if self.classes is not None else {}

    def splits(self, declared: Dataset) -> dict[str, SplitContent]:
        """What each declared split holds."""
        content = {}
        for name in names_of(declared.split):
            is_in = self.codes == SPLITS.index(name)
            counts, mean = {}, None
            if self.classes is not None:
                counts = class_counts_of(pc.filter(self.classes, pa.array(is_in)))
            elif self.decision is not None and self.decision.task == "regression":
                labels = self.table.column(declared.label)
                mean = pc.mean(pc.filter(labels, pa.array(is_in)).cast(pa.float64())).as_py()
            content[name] = SplitContent(rows=int(is_in.sum()), class_counts=counts, mean=mean)
        return content


def _digest(table: pa.Table) -> str:
    return digest_of_block(table, np.zeros(0, np.int8), 0)
