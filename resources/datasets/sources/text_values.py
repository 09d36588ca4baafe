"""What values look like that a source has as text."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from resources.datasets.arrow import pc
from resources.datasets.remarks import Remark

MISSING = ("#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "None", "n/a", "na", "null")
"""Words that stand for a missing value among values that are not text."""
INTEGER = r"^[+-]?(0|[1-9][0-9]*)$"
DIGITS = r"^[+-]?[0-9]+$"
PADDED = r"^[+-]?0[0-9]"
NUMBER = (
    r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
    r"|^[+-]?([nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)$"
)
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
TIME = r"^[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
MOMENT = _MOMENT + "$"
ZONED = _MOMENT + r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
DECIMAL_COMMA = r"^[+-]?([0-9]+|[0-9]{1,3}(\.[0-9]{3})+)(,[0-9]+)?([eE][+-]?[0-9]+)?$"
NUMBER_LIKE = r"^[+-]?[$€£]?[+-]?[0-9][0-9.,' ]*[%€$£]?$"
TRUE_WORDS = {"true": "true/false", "yes": "yes/no", "y": "y/n", "t": "t/f"}
FALSE_WORDS = {"false": "true/false", "no": "yes/no", "n": "y/n", "f": "t/f"}
WORD_KINDS = {**TRUE_WORDS, **FALSE_WORDS}


class Place(NamedTuple):
    """Where a value stands in its source."""

    file: str | None
    line: int | None

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else "a row"
        return f"{self.file} {line}" if self.file else line


PlaceOf = Callable[[int], Place]
"""Place of the value in a row, from the number of the row in its source."""


def nowhere(row: int) -> Place:
    """The place of a row whose source has no lines."""
    return Place(None, None)


@dataclass
class Marked:
    """Values of a column that are alike: how many there are, and the first of them."""

    count: int = 0
    row: int = -1
    """Number of the first one's row."""
    example: str = ""

    def add(self, where: pa.ChunkedArray, values: pa.ChunkedArray, row: int) -> None:
        """Take the values that are marked true, of rows from that number on."""
        found = pc.sum(where).as_py() or 0
        if found and not self.count:
            first = pc.index(where, True).as_py()
            self.row, self.example = row + first, f"{values[first].as_py():.80}"
        self.count += found

    def remark(self, name: str, is_loss: bool, reason: str, place_of: PlaceOf) -> Remark:
        """Remark that these values of the column are left out or, without loss, converted."""
        place = place_of(self.row)
        return Remark(
            subject=name,
            action="left_out" if is_loss else "converted",
            count=self.count,
            reason=reason,
            example=self.example,
            file=place.file,
            line=place.line,
        )


def trimmed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values without blanks around them; null where nothing is left."""
    bare = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.equal(bare, ""), None, bare)


def without_plus(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers as text without plus signs, which Arrow's parser does not take."""
    return pc.utf8_ltrim(values, characters="+")


def times_of(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times of day written as text, such as 12:30. Raises pa.ArrowInvalid."""
    # Arrow parses moments from text, and no times of day.
    moments = pc.binary_join_element_wise("1970-01-01T", values, "")
    return moments.cast(pa.timestamp("ns")).cast(pa.time64("ns"))


def first_of(values: pa.ChunkedArray) -> str:
    """The first value that is there."""
    return values[pc.index(pc.is_valid(values), True).as_py()].as_py()


def are_all(values: pa.ChunkedArray, pattern: str) -> bool:
    """Whether every value that is there is of the pattern; one is at least."""
    # One value decides for most columns, without a pass over all others.
    if not re.search(pattern, first_of(values)):
        return False
    return pc.all(pc.match_substring_regex(values, pattern)).as_py() is not False


def is_any(values: pa.ChunkedArray, pattern: str) -> bool:
    """Whether a value is of the pattern."""
    return pc.any(pc.match_substring_regex(values, pattern)).as_py() is True
