"""The types of columns that a source has as text: from all their values, never from the first.

A column is of numbers, booleans, dates or times when every value is one. A column that is text in
spite of its numbers is remarked on, with the first value that made it so.
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

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


class TextColumn(NamedTuple):
    """One column as text, with nulls for its empty cells."""

    name: str
    values: pa.ChunkedArray
    is_label: bool
    place_of: Callable[[int], Place]
    """Place of the value in a row."""
    decimal_commas: bool = False
    """Whether a comma may be the decimal sign; where the comma delimits cells it is not."""


Typed = tuple[pa.ChunkedArray, list[Remark]]


def typed(column: TextColumn) -> Typed:
    """The column in the type that all its values have, and what there is to remark."""
    values = trimmed(column.values)
    if values.null_count == len(values):
        return pa.chunked_array([pa.nulls(len(values))]), []
    if converted := _of_one_type(column, values):
        return converted
    is_missing = pc.fill_null(pc.is_in(values, pa.array(MISSING)), False)
    if pc.any(is_missing).as_py():
        present = pc.if_else(is_missing, None, values)
        if present.null_count < len(present) and (converted := _of_one_type(column, present)):
            words = sorted(pc.unique(values.filter(is_missing)).to_pylist())
            reason = f"{', '.join(map(repr, words))} among values of one type became null"
            return converted[0], [remark_on(column, "converted", is_missing, reason), *converted[1]]
    return column.values, remarks_on_text(column)


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


def are_all(values: pa.ChunkedArray, pattern: str) -> bool:
    """Whether every value that is there is of the pattern."""
    # One value decides for most columns, without a pass over all others.
    if not re.search(pattern, _first(values)):
        return False
    return pc.all(pc.match_substring_regex(values, pattern)).as_py() is not False


def is_any(values: pa.ChunkedArray, pattern: str) -> bool:
    """Whether a value is of the pattern."""
    return pc.any(pc.match_substring_regex(values, pattern)).as_py() is True


def _first(values: pa.ChunkedArray) -> str:
    return values[pc.index(pc.is_valid(values), True).as_py()].as_py()


def _of_one_type(column: TextColumn, values: pa.ChunkedArray) -> Typed | None:
    """The values in the one type that they all have, or None where they are text."""
    for convert in (_integers, _numbers, _booleans, _times, _comma_numbers):
        if converted := convert(column, values):
            return converted
    return None


def _integers(column: TextColumn, values: pa.ChunkedArray) -> Typed | None:
    if not are_all(values, INTEGER):
        return None
    bare = without_plus(values)
    try:
        return bare.cast(pa.int64()), []
    except pa.ArrowInvalid:
        reason = (
            "whole numbers beyond 64 bits, read as float64 with about 15 digits; declare read: "
            f"{{types: {{{column.name!r}: text}}}} for identifiers"
        )
        remark = remark_on(column, "converted", pc.is_valid(values), reason)
        return bare.cast(pa.float64()), [remark]


def _numbers(column: TextColumn, values: pa.ChunkedArray) -> Typed | None:
    # Digits behind a leading zero are codes, as of post and products; a number loses the zero.
    if not are_all(values, NUMBER) or are_all(values, DIGITS):
        return None
    return without_plus(values).cast(pa.float64()), []


def _booleans(column: TextColumn, values: pa.ChunkedArray) -> Typed | None:
    if _first(values).lower() not in WORD_KINDS:
        return None
    lower = pc.utf8_lower(values)
    words = {word for word in pc.unique(lower).to_pylist() if word is not None}
    # A single letter alone may mean anything, and the words of a label are its classes.
    is_plain = words <= {"true", "false"}
    is_letter = len(words) == 1 and max(map(len, words)) == 1
    if not words <= WORD_KINDS.keys() or is_letter or (column.is_label and not is_plain):
        return None
    truth = pc.if_else(pc.is_valid(lower), pc.is_in(lower, pa.array(list(TRUE_WORDS))), None)
    if is_plain:
        return truth, []
    reason = (
        f"{' and '.join(sorted({WORD_KINDS[word] for word in words}))} became true and false; "
        f"declare read: {{types: {{{column.name!r}: text}}}} to keep the words"
    )
    return truth, [remark_on(column, "converted", pc.is_valid(values), reason)]


def _times(column: TextColumn, values: pa.ChunkedArray) -> Typed | None:
    """Dates, times of day, and moments with or without a zone."""
    kinds: dict[str, list[pa.DataType]] = {
        DATE: [pa.date32()],
        TIME: [pa.time64("ns")],
        # Microseconds are kept; text with more digits can only be read as nanoseconds.
        MOMENT: [pa.timestamp("us"), pa.timestamp("ns")],
        ZONED: [pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")],
    }
    pattern = next((p for p in kinds if re.search(p, _first(values))), None)
    if pattern is None or not are_all(values, pattern):
        return None
    for kind in kinds[pattern]:
        try:
            return times_of(values) if pattern == TIME else values.cast(kind), []
        except pa.ArrowInvalid:
            continue
    return None


def _comma_numbers(column: TextColumn, values: pa.ChunkedArray) -> Typed | None:
    if not column.decimal_commas or not are_all(values, DECIMAL_COMMA) or not is_any(values, ","):
        return None
    reason = "the comma was read as the decimal sign; declare read: {decimal: ','}"
    remark = remark_on(column, "converted", pc.is_valid(values), reason)
    bare = pc.replace_substring(pc.replace_substring(values, ".", ""), ",", ".")
    return without_plus(bare).cast(pa.float64()), [remark]


def remarks_on_text(column: TextColumn) -> list[Remark]:
    """What there is to say of numbers that stay text."""
    values = trimmed(column.values)
    outcome, action = "text and no feature", "left_out"
    if column.is_label:
        outcome, action = "a text label", "converted"
    is_number = pc.match_substring_regex(values, NUMBER)
    present = len(values) - values.null_count
    numbers = pc.sum(is_number).as_py() or 0
    if not present:
        return []
    if present > numbers > present / 2:
        strange = pc.and_(pc.is_valid(values), pc.invert(is_number))
        word = values[pc.index(strange, True).as_py()].as_py()
        reason = (
            f"{numbers} of {present} values are numbers and the others are not, so the column is "
            f"{outcome}; declare read: {{nulls: [{word!r:.80}]}} where that is a missing value, "
            f"or {{types: {{{column.name!r}: text}}}}"
        )
        return [remark_on(column, action, strange, reason)]
    if column.is_label:
        return []
    if numbers == present:
        is_padded = are_all(values, DIGITS) and is_any(values, PADDED)
        what = "digits with leading zeros" if is_padded else "numbers that the source has as text"
        reason = (
            f"{what} are no feature; declare read: {{types: {{{column.name!r}: number}}}} to read "
            "them as numbers, or text to keep them"
        )
        return [remark_on(column, "left_out", is_number, reason)]
    is_alike = pc.match_substring_regex(values, NUMBER_LIKE)
    if pc.sum(is_alike).as_py() * 2 > present:
        reason = (
            "values that look like numbers are text and no feature; declare read: {decimal: ...} "
            "or {thousands: ...}, or take signs such as % away with an sql: query"
        )
        return [remark_on(column, "left_out", is_alike, reason)]
    return []


def remark_on(
    column: TextColumn,
    action: Literal["left_out", "converted"] | str,
    where: pa.ChunkedArray,
    reason: str,
) -> Remark:
    """Remark on the values marked true, of which the first is the example."""
    row = pc.index(where, True).as_py()
    place = column.place_of(row)
    return Remark(
        subject=column.name,
        action="left_out" if action == "left_out" else "converted",
        count=pc.sum(where).as_py(),
        reason=reason,
        example=f"{column.values[row].as_py():.80}",
        file=place.file,
        line=place.line,
    )
