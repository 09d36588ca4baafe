"""Places in lists: opaque cursors over the key that a list is sorted by."""

import base64
import binascii
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from api.operations.operation import Output, Page, Paged
from api.problems import invalid

S = TypeVar("S")
T = TypeVar("T", bound=Output)


def cursor_of(key: str | int) -> str:
    """The cursor behind the item with this key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def key_of(cursor: str | None, kind: type[str] | type[int] = str) -> Any:
    """The key that the cursor stands for, or None without one. Raises the problem `invalid`."""
    if cursor is None:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise invalid("the cursor is none of this list", "cursor") from error
    # PostgreSQL takes no NUL character in text.
    is_text = kind is str and isinstance(key, str) and "\0" not in key
    is_number = kind is int and type(key) is int and 0 <= key < 1 << 62
    if not is_text and not is_number:
        raise invalid("the cursor is none of this list", "cursor")
    return key


def page_of(
    rows: Sequence[S], limit: int, key: Callable[[S], str | int], show: Callable[[S], T]
) -> Page[T]:
    """A page of what was found, which is one more than the page holds where there is a next."""
    shown = rows[:limit]
    more = cursor_of(key(shown[-1])) if len(rows) > limit and shown else None
    return Page(items=[show(item) for item in shown], next_cursor=more)


class Rows(NamedTuple, Generic[S]):
    """What a page shows, before it is shown."""

    rows: Sequence[S]
    next_cursor: str | None


def rows_in_order(everything: Sequence[S], request: Paged, key: Callable[[S], str]) -> Rows[S]:
    """The rows of a page of a list in memory that is sorted by the key, upwards."""
    after = key_of(request.cursor)
    begin = 0 if after is None else bisect_right(everything, after, key=key)
    rows = everything[begin : begin + request.limit]
    is_last = begin + request.limit >= len(everything)
    return Rows(rows, None if is_last or not rows else cursor_of(key(rows[-1])))


def page_in_order(
    everything: Sequence[S], request: Paged, key: Callable[[S], str], show: Callable[[S], T]
) -> Page[T]:
    """A page of a list in memory that is sorted by the key, upwards."""
    page = rows_in_order(everything, request, key)
    return Page(items=[show(item) for item in page.rows], next_cursor=page.next_cursor)
