"""How much rows count in training, as a column says it."""

import pyarrow as pa

from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, is_number


def require_weights(name: str, values: pa.ChunkedArray) -> None:
    """Raises UnusableColumns unless every value is a finite number from 0 and one is above it."""
    if pa.types.is_boolean(values.type) or not is_number(values.type):
        raise UnusableColumns(
            f"the weight {name!r} is of type {values.type}, expected numbers from 0; declare "
            f"another column, or read: {{types: {{{name!r}: number}}}}"
        )
    numbers = values.cast(pa.float64(), safe=False)
    is_weight = pc.and_(pc.is_finite(numbers), pc.greater_equal(numbers, 0))
    wrong = pc.invert(pc.fill_null(is_weight, False))
    if count := pc.sum(wrong).as_py():
        example = values[pc.index(wrong, True).as_py()].as_py()
        raise UnusableColumns(
            f"the weight {name!r} has {count} values that are negative, missing or not finite "
            f"(such as {example}), expected finite numbers from 0; correct them at the source, or "
            "leave the rows out with an sql: query"
        )
    if not pc.any(pc.greater(numbers, 0)).as_py():
        raise UnusableColumns(
            f"every weight {name!r} is 0, expected one above 0; declare another column"
        )
