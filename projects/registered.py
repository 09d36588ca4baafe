"""What is registered by name: one module each in a shipped package, or an entry point of another
distribution."""

import importlib
import logging
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

log = logging.getLogger(__name__)


def registered(package: str, attribute: str, group: str) -> Mapping[str, Any]:
    """What each module of the package has under the attribute, and what entry points of the group
    name, by name of the module or of the entry point. What cannot be loaded is logged and left
    out."""
    # By name, like those of other distributions: a declaration depends on no engine.
    path = importlib.import_module(package).__path__
    shipped = {
        module.name: getattr(importlib.import_module(f"{package}.{module.name}"), attribute)
        for module in pkgutil.iter_modules(path)
    }
    return {**dict(_of_others(group)), **shipped}


def _of_others(group: str) -> Iterator[tuple[str, Any]]:
    for point in entry_points(group=group):
        try:
            yield point.name, point.load()
        # A module may raise anything, and one that is broken must not keep the platform down; a
        # project that names it is told that there is none.
        except Exception as error:
            log.error("%s of %s (%s) cannot be loaded: %s", point.name, group, point.value, error)
