"""Data sets that ship inside scikit-learn."""

import pyarrow as pa

from projects.nearest import hint
from resources.datasets.sources.rows import SourceRows, SourceUnreadable

BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def read_bundled(name: str) -> SourceRows:
    """The rows of the data set, its label as `target`. Raises SourceUnreadable."""
    if name not in BUNDLED:
        raise SourceUnreadable(f"scikit-learn bundles no {name!r}{hint(name, BUNDLED)}")
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    names = [_column(feature) for feature in bunch.feature_names]
    columns = {column: bunch.data[:, i] for i, column in enumerate(names)}
    if name == "digits":
        columns = {f"pixel_{i}": bunch.data[:, i] for i in range(bunch.data.shape[1])}
    return SourceRows(pa.table({**columns, "target": bunch.target}))


def _column(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name).strip("_").lower()
