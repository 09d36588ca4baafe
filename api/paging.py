"""Places in lists: opaque cursors over the key that a list is sorted by."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

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


def page_in_order(
    everything: Sequence[S], request: Paged, key: Callable[[S], str], show: Callable[[S], T]
) -> Page[T]:
    """A page of a short list that is sorted by the key, upwards."""
    after = key_of(request.cursor)
    rest = [item for item in everything if after is None or key(item) > after]
    return page_of(rest[: request.limit + 1], request.limit, key, show)
