"""Packages that only some of the client's abilities need."""

from importlib import import_module
from types import ModuleType
from typing import Any

from orrery.errors import MissingExtra


def required(name: str, purpose: str) -> Any:
    """The module. Raises MissingExtra, which says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        text = f'{purpose} need {package}; install it with: pip install "orrery-client[notebook]"'
        raise MissingExtra(text) from error


def pandas() -> Any:
    """pandas. Raises MissingExtra."""
    return required("pandas", "frames")


def found(name: str) -> ModuleType | None:
    """The module, or None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None
