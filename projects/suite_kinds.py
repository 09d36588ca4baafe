"""The registered kinds of suites, found by name."""

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from projects.suite import Suite

SHIPPED = "simulations.kinds"
GROUP = "orrery.suites"
"""Entry points by which an installed distribution registers kinds: `name = module:Class`."""
CLASS = "KIND"
"""Name of the class in a shipped module."""


@functools.cache
def suite_kinds() -> Mapping[str, type[Suite]]:
    """Class of the declaration, by kind. Raises what the module of a kind raises."""
    # By name, like those of other distributions: a declaration depends on no engine.
    package = importlib.import_module(SHIPPED)
    shipped = {
        module.name: getattr(importlib.import_module(f"{SHIPPED}.{module.name}"), CLASS)
        for module in pkgutil.iter_modules(package.__path__)
    }
    others = {point.name: point.load() for point in entry_points(group=GROUP)}
    return {**others, **shipped}


def read_suite(value: Mapping[str, Any]) -> Suite:
    """The suite that JSON describes. Raises KeyError for an unknown kind, or ValidationError."""
    return suite_kinds()[value["kind"]].model_validate(value)


if TYPE_CHECKING:
    AnySuite = Suite
else:
    # A union that is known only when the program runs.
    AnySuite = Annotated[Union[tuple(suite_kinds().values())], Field(discriminator="kind")]  # noqa: UP007
"""A suite of any registered kind, for the schemas of requests."""
