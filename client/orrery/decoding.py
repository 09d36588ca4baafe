"""JSON of the platform as values of the client's types, and values of a notebook as JSON."""

import dataclasses
import json
import re
import sys
from datetime import date, datetime
from functools import cache
from pathlib import PurePath
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from orrery.errors import UnexpectedAnswer

T = TypeVar("T")
FRACTION = re.compile(r"\.(\d{1,9})")


def decoded(kind: type[T], value: Any) -> T:
    """The value as one of the type. Keys that the type does not know are left out, so that a newer
    platform can be asked.

    Raises UnexpectedAnswer.
    """
    try:
        return _decoded(kind, value)
    except (TypeError, ValueError, AttributeError) as error:
        text = f"the platform's answer is no {kind.__name__}: {error}"
        advice = "install the version of orrery-client that belongs to the platform"
        raise UnexpectedAnswer(f"{text}; {advice}") from error


def _decoded(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        given = {name: _decoded(hints[name], value[name]) for name in hints if name in value}
        return kind(**given)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else _decoded(_first(inner), value)
    if origin is list:
        return [_decoded(inner[0], each) for each in value]
    if origin is dict:
        return {key: _decoded(inner[1], each) for key, each in value.items()}
    return moment(value) if kind is datetime else value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _first(alternatives: tuple[Any, ...]) -> Any:
    return next(each for each in alternatives if each is not type(None))


def moment(text: str) -> datetime:
    """The time of ISO 8601. Raises ValueError."""
    # Python 3.10 reads neither a Z nor fractions of other than three or six digits.
    text = FRACTION.sub(lambda found: f".{found[1][:6]:<06}", text.replace("Z", "+00:00"))
    return datetime.fromisoformat(text)


def encoded(value: Any) -> bytes:
    """The value as JSON, also where it holds numbers of numpy, times, paths or answers.

    Raises ValueError for NaN and infinity, TypeError for what JSON cannot hold.
    """
    return json.dumps(value, default=_plain, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"got {value!r:.80} of {type(value).__name__}, which JSON cannot hold")
