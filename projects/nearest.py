"""The nearest valid word, for errors that tell the reader what was probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def hint(word: str, valid: Iterable[str]) -> str:
    """Text to append to an error: the nearest valid word, else the valid words."""
    words = sorted(valid)
    nearest = get_close_matches(word, words, n=1, cutoff=0.5)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f" (one of: {', '.join(words)})" if words else " (none is declared)"
