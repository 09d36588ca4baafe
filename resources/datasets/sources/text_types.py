"""The types that values have which a source has as text.

A column may be of a type as long as all values that were seen may. Where it may be of several, it
is of the first in the order of `types_for`.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import pyarrow as pa

from resources.datasets.arrow import pc
from resources.datasets.sources.text_values import (
    DATE,
    DECIMAL_COMMA,
    DIGITS,
    INTEGER,
    MOMENT,
    NUMBER,
    TIME,
    TRUE_WORDS,
    WORD_KINDS,
    ZONED,
    are_all,
    first_of,
    is_any,
    times_of,
    without_plus,
)

SURE_DIGITS = 18
"""Characters of whole numbers that 64 bits always hold."""


class TextType(Protocol):
    """A type that a column may have, and what is known of it from the values that were seen."""

    @property
    def is_meant(self) -> bool:
        """Whether the values that were seen, which all may be of the type, are of it."""
        ...

    def narrowed(self, values: pa.ChunkedArray) -> Self | None:
        """The type after more values, trimmed and at least one; None where they are not of it."""
        ...

    def converted(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Values that were seen in the type."""
        ...

    def reason(self, name: str) -> str:
        """Why the column is remarked on; empty where it is not."""
        ...


def types_for(is_label: bool, decimal_commas: bool) -> list[TextType]:
    """The types that a column without values may have, in the order in which they come."""
    times: list[TextType] = [
        Times(DATE, (pa.date32(),)),
        Times(TIME, (pa.time64("ns"),)),
        # Microseconds are kept; text with more digits can only be read as nanoseconds.
        Times(MOMENT, (pa.timestamp("us"), pa.timestamp("ns"))),
        Times(ZONED, (pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC"))),
    ]
    commas: list[TextType] = [DecimalCommas()] if decimal_commas else []
    return [Numbers(), Booleans(is_label), *times, *commas]


@dataclass(frozen=True)
class Numbers:
    """Whole numbers without leading zeros, or numbers of which one at least is not written with
    digits alone."""

    are_whole: bool = True
    are_beyond: bool = False
    """Whether a whole number is beyond 64 bits."""
    are_digits: bool = True

    @property
    def is_meant(self) -> bool:
        """Digits behind a leading zero are codes, as of post and products; a number loses it."""
        return self.are_whole or not self.are_digits

    def narrowed(self, values: pa.ChunkedArray) -> Self | None:
        """The same unless a value is no number."""
        if self.are_whole and are_all(values, INTEGER):
            return self if self._are_held(values) else replace(self, are_beyond=True)
        if not are_all(values, NUMBER):
            return None
        are_digits = self.are_digits and are_all(values, DIGITS)
        return replace(self, are_whole=False, are_digits=are_digits)

    def _are_held(self, values: pa.ChunkedArray) -> bool:
        if self.are_beyond or pc.max(pc.binary_length(values)).as_py() <= SURE_DIGITS:
            return True
        return _is_castable(without_plus(values), pa.int64())

    def converted(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """The numbers as int64 where that holds all of them, else as float64."""
        is_exact = self.are_whole and not self.are_beyond
        return without_plus(values).cast(pa.int64() if is_exact else pa.float64())

    def reason(self, name: str) -> str:
        """What is lost beyond 64 bits."""
        if not (self.are_whole and self.are_beyond):
            return ""
        return (
            "whole numbers beyond 64 bits, read as float64 with about 15 digits; declare read: "
            f"{{types: {{{name!r}: text}}}} for identifiers"
        )


@dataclass(frozen=True)
class Booleans:
    """Words such as true and no."""

    is_label: bool
    words: frozenset[str] = frozenset()

    @property
    def is_meant(self) -> bool:
        """A single letter alone may mean anything, and the words of a label are its classes."""
        is_letter = len(self.words) == 1 and max(map(len, self.words)) == 1
        return not is_letter and (self._are_plain or not self.is_label)

    @property
    def _are_plain(self) -> bool:
        return self.words <= {"true", "false"}

    def narrowed(self, values: pa.ChunkedArray) -> Self | None:
        """The same unless a value is another word."""
        if first_of(values).lower() not in WORD_KINDS:
            return None
        found = {word for word in pc.unique(pc.utf8_lower(values)).to_pylist() if word is not None}
        return replace(self, words=self.words | found) if found <= WORD_KINDS.keys() else None

    def converted(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """The words as booleans."""
        is_true = pc.is_in(pc.utf8_lower(values), pa.array(list(TRUE_WORDS)))
        return pc.if_else(pc.is_valid(values), is_true, None)

    def reason(self, name: str) -> str:
        """Which words are lost."""
        if self._are_plain:
            return ""
        return (
            f"{' and '.join(sorted({WORD_KINDS[word] for word in self.words}))} became true and "
            f"false; declare read: {{types: {{{name!r}: text}}}} to keep the words"
        )


@dataclass(frozen=True)
class Times:
    """Dates, times of day, or moments with or without a zone."""

    pattern: str
    kinds: tuple[pa.DataType, ...]
    """Arrow types that may hold them; the first is the best."""
    is_meant = True

    def narrowed(self, values: pa.ChunkedArray) -> Self | None:
        """The same with the types that hold these values as well, unless none does."""
        if not are_all(values, self.pattern):
            return None
        kinds = tuple(kind for kind in self.kinds if self._fits(values, kind))
        return replace(self, kinds=kinds) if kinds else None

    def _fits(self, values: pa.ChunkedArray, kind: pa.DataType) -> bool:
        try:
            self._cast(values, kind)
        except pa.ArrowInvalid:
            return False
        return True

    def _cast(self, values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
        return times_of(values) if self.pattern == TIME else values.cast(kind)

    def converted(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """The values in the best type that holds all."""
        return self._cast(values, self.kinds[0])

    def reason(self, name: str) -> str:
        """Nothing is lost."""
        return ""


@dataclass(frozen=True)
class DecimalCommas:
    """Numbers with a decimal comma, which one at least has."""

    is_meant: bool = False

    def narrowed(self, values: pa.ChunkedArray) -> Self | None:
        """The same unless a value is no such number."""
        if not are_all(values, DECIMAL_COMMA):
            return None
        return replace(self, is_meant=self.is_meant or is_any(values, ","))

    def converted(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """The numbers as float64."""
        bare = pc.replace_substring(pc.replace_substring(values, ".", ""), ",", ".")
        return without_plus(bare).cast(pa.float64())

    def reason(self, name: str) -> str:
        """What the comma was taken for."""
        return "the comma was read as the decimal sign; declare read: {decimal: ','}"


def _is_castable(values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
