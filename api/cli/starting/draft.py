"""The draft of a project: what is asked, what was seen, and the text of the file."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

LONGEST_NAME = 40


class CannotStart(Exception):
    """No project can be made from this; the text says why and what to do."""


class Ask(Protocol):
    """Asks the person one question; answers the default by itself where nobody is to be asked."""

    def __call__(self, question: str, default: str, choices: Sequence[str] = ()) -> str:
        """The answer."""
        ...


@dataclass(frozen=True)
class Request:
    """What a project is to be made from."""

    source: str
    """A path, or the id of an environment."""
    name: str
    folder: Path
    """Where the project file will lie."""
    label: str | None
    data: str | None
    """Table whose rows prove a model that is there already."""
    environment: str | None
    """Id of the environment whose episodes prove a policy that is there already."""
    ask: Ask
    say: Callable[[str], None]


@dataclass(frozen=True)
class Draft:
    """A project file."""

    name: str
    text: str
    seen: list[str] = field(default_factory=list)
    """What was found out about the source, a sentence each."""


def address(path: str | Path, folder: Path) -> str:
    """The path as a project file of the folder names it: relative where it is below."""
    place = Path(path).absolute()
    return str(place.relative_to(folder) if place.is_relative_to(folder) else place)


def name_of(source: str) -> str:
    """A project's name after a file, a folder or an environment."""
    stem = Path(source).stem if Path(source).suffix else Path(source).name
    words = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    name = words if words[:1].isalpha() else f"project-{words}"
    return name[:LONGEST_NAME].rstrip("-") or "project"


def scalar(value: Any) -> str:
    """The value as YAML writes it within a line; JSON is YAML."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value):
        reserved = value.lower() in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
        return f'"{value}"' if reserved else value
    return json.dumps(value, ensure_ascii=False)


def rounded_down(value: float, digits: int = 2) -> float:
    """The value rounded towards less, so that a bound stays reachable."""
    return int(value * 10**digits) / 10**digits if value >= 0 else -rounded_up(-value, digits)


def rounded_up(value: float, digits: int = 2) -> float:
    """The value rounded away from zero."""
    scaled = value * 10**digits
    return (int(scaled) + (scaled > int(scaled))) / 10**digits
