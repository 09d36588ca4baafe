"""The types of columns that a source has as text: from all their values, never from the first.

A column is of numbers, booleans, dates or times when every value is one. A column that is text in
spite of its numbers is remarked on, with the first value that made it so. Values come in portions,
all of them twice: first the type is learned, then they are converted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import pyarrow as pa

from resources.datasets.arrow import pc
from resources.datasets.remarks import Remark
from resources.datasets.sources.text_types import TextType, types_for
from resources.datasets.sources.text_values import (
    DIGITS,
    MISSING,
    NUMBER,
    NUMBER_LIKE,
    PADDED,
    Marked,
    PlaceOf,
    are_all,
    is_any,
    trimmed,
)


class Typing(Protocol):
    """How the values of one column become those of a type."""

    def add(self, values: pa.ChunkedArray, row: int) -> None:
        """Learn from the values of the rows from that number on."""
        ...

    def converted(self, values: pa.ChunkedArray, row: int, place_of: PlaceOf) -> pa.ChunkedArray:
        """The values of the rows from that number on in the type of all that were added. Raises
        SourceUnreadable."""
        ...

    def remarks(self, place_of: PlaceOf) -> list[Remark]:
        """What there is to remark, once all values were converted."""
        ...


def learn(typings: Mapping[str, Typing], tables: Iterable[pa.Table], row: int = 0) -> int:
    """Add the columns of the tables, whose first row has the number; returns the number of the row
    behind the last."""
    for table in tables:
        for name, typing in typings.items():
            if name in table.column_names:
                typing.add(table.column(name), row)
        row += table.num_rows
    return row


def converted(
    typings: Mapping[str, Typing], tables: Iterable[pa.Table], place_of: PlaceOf, row: int = 0
) -> Iterator[pa.Table]:
    """The tables with these columns in their types, in the same order. Raises SourceUnreadable."""
    for table in tables:
        columns = [
            typings[name].converted(values, row, place_of) if name in typings else values
            for name, values in zip(table.column_names, table.columns, strict=True)
        ]
        row += table.num_rows
        yield pa.Table.from_arrays(columns, table.column_names)


class FoundType:
    """The type that all values of a column have."""

    def __init__(self, name: str, is_label: bool, decimal_commas: bool = False) -> None:
        """Where `decimal_commas`, a comma may be the decimal sign; where the comma delimits cells
        it is not."""
        self._name = name
        self._types = types_for(is_label, decimal_commas)
        self._present, self._missing = Marked(), Marked()
        self._words: set[str] = set()
        self._has_others = False
        self._numbers = NumbersInText(name, is_label)

    def add(self, values: pa.ChunkedArray, row: int = 0) -> None:
        """Learn from more values."""
        bare = trimmed(values)
        self._present.add(pc.is_valid(bare), values, row)
        if bare.null_count == len(bare) or not self._types:
            return
        types = _narrowed(self._types, bare)
        if not types:
            is_missing = pc.fill_null(pc.is_in(bare, pa.array(MISSING)), False)
            self._words.update(pc.unique(bare.filter(is_missing)).to_pylist())
            self._missing.add(is_missing, values, row)
            bare = pc.if_else(is_missing, None, bare)
            if bare.null_count == len(bare):
                return
            types = _narrowed(self._types, bare) if self._missing.count else []
        self._types, self._has_others = types, True

    @property
    def _type(self) -> TextType | None:
        """The type of all values; None where they are text."""
        if not self._has_others:
            return None
        return next((each for each in self._types if each.is_meant), None)

    def converted(self, values: pa.ChunkedArray, row: int, place_of: PlaceOf) -> pa.ChunkedArray:
        """The values in the type, or as they are where it is text."""
        if not self._present.count:
            return pa.chunked_array([pa.nulls(len(values))])
        kind = self._type
        if kind is None:
            self._numbers.add(values, row)
            return values
        bare = trimmed(values)
        if self._words:
            is_missing = pc.fill_null(pc.is_in(bare, pa.array(sorted(self._words))), False)
            bare = pc.if_else(is_missing, None, bare)
        return kind.converted(bare)

    def remarks(self, place_of: PlaceOf) -> list[Remark]:
        """What became null or another word, and what there is to say of text."""
        kind = self._type
        if kind is None:
            return self._numbers.remarks(place_of)
        remarks = []
        if self._words:
            reason = (
                f"{', '.join(map(repr, sorted(self._words)))} among values of one type became null"
            )
            remarks.append(self._missing.remark(self._name, False, reason, place_of))
        if reason := kind.reason(self._name):
            values = self._present
            remarks.append(values.remark(self._name, False, reason, place_of))
        return remarks


def _narrowed(types: list[TextType], values: pa.ChunkedArray) -> list[TextType]:
    return [kept for each in types if (kept := each.narrowed(values)) is not None]


class NumbersInText:
    """What there is to say of numbers that stay text."""

    def __init__(self, name: str, is_label: bool) -> None:
        self._name, self._is_label = name, is_label
        self._present = 0
        self._numbers, self._others, self._alike = Marked(), Marked(), Marked()
        self._are_digits, self._is_padded = True, False

    def add(self, values: pa.ChunkedArray, row: int = 0) -> None:
        """Take more values of the column, which is text."""
        bare = trimmed(values)
        present = len(bare) - bare.null_count
        if not present:
            return
        self._present += present
        is_number = pc.match_substring_regex(bare, NUMBER)
        self._numbers.add(is_number, values, row)
        self._others.add(pc.invert(is_number), values, row)
        if self._is_label:
            return
        if not self._others.count:
            self._are_digits = self._are_digits and are_all(bare, DIGITS)
            self._is_padded = self._is_padded or is_any(bare, PADDED)
        self._alike.add(pc.match_substring_regex(bare, NUMBER_LIKE), values, row)

    def remarks(self, place_of: PlaceOf) -> list[Remark]:
        """At most one remark."""
        rules: list[Callable[[PlaceOf], Remark | None]] = [self._mostly_numbers]
        if not self._is_label:
            rules += [self._all_numbers, self._like_numbers]
        found = (rule(place_of) for rule in rules)
        return [remark for remark in found if remark is not None][:1]

    def _mostly_numbers(self, place_of: PlaceOf) -> Remark | None:
        numbers, others = self._numbers.count, self._others
        if not self._present > numbers > self._present / 2:
            return None
        outcome = "a text label" if self._is_label else "text and no feature"
        reason = (
            f"{numbers} of {self._present} values are numbers and the others are not, so the "
            f"column is {outcome}; declare read: {{nulls: [{others.example.strip()!r:.80}]}} where "
            f"that is a missing value, or {{types: {{{self._name!r}: text}}}}"
        )
        return others.remark(self._name, not self._is_label, reason, place_of)

    def _all_numbers(self, place_of: PlaceOf) -> Remark | None:
        if not 0 < self._present == self._numbers.count:
            return None
        what = "numbers that the source has as text"
        if self._are_digits and self._is_padded:
            what = "digits with leading zeros"
        reason = (
            f"{what} are no feature; declare read: {{types: {{{self._name!r}: number}}}} to read "
            "them as numbers, or text to keep them"
        )
        return self._numbers.remark(self._name, True, reason, place_of)

    def _like_numbers(self, place_of: PlaceOf) -> Remark | None:
        if self._alike.count * 2 <= self._present:
            return None
        reason = (
            "values that look like numbers are text and no feature; declare read: {decimal: ...} "
            "or {thousands: ...}, or take signs such as % away with an sql: query"
        )
        return self._alike.remark(self._name, True, reason, place_of)
