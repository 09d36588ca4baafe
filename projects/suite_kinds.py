"""The registered kinds of suites, found by name."""

import functools
import importlib
import logging
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from projects.suite import Suite

log = logging.getLogger(__name__)
SHIPPED = "simulations.kinds"
GROUP = "orrery.suites"
"""Entry points by which an installed distribution registers kinds: `name = module:Class`."""
CLASS = "KIND"
"""Name of the class in a shipped module."""


@functools.cache
def suite_kinds() -> Mapping[str, type[Suite]]:
    """Class of the declaration, by kind."""
    # By name, like those of other distributions: a declaration depends on no engine.
    package = importlib.import_module(SHIPPED)
    shipped = {
        module.name: getattr(importlib.import_module(f"{SHIPPED}.{module.name}"), CLASS)
        for module in pkgutil.iter_modules(package.__path__)
    }
    return {**dict(_of_others()), **shipped}


def _of_others() -> Iterator[tuple[str, type[Suite]]]:
    for point in entry_points(group=GROUP):
        try:
            yield point.name, point.load()
        # A module may raise anything, and one that is broken must not keep the platform down; a
        # project that names its kind is told that there is none.
        except Exception as error:
            log.error(
                "the kind of suite %s (%s) cannot be loaded: %s", point.name, point.value, error
            )


def read_suite(value: Mapping[str, Any]) -> Suite:
    """The suite that JSON describes. Raises KeyError for an unknown kind, or ValidationError."""
    return suite_kinds()[value["kind"]].model_validate(value)


if TYPE_CHECKING:
    AnySuite = Suite
else:
    # A union that is known only when the program runs.
    AnySuite = Annotated[Union[tuple(suite_kinds().values())], Field(discriminator="kind")]  # noqa: UP007
"""A suite of any registered kind, for the schemas of requests."""
