"""The registered kinds of suites, found by name."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from projects.registered import registered
from projects.suite import Suite

SHIPPED = "simulations.kinds"
GROUP = "orrery.suites"
"""Entry points by which an installed distribution registers kinds: `name = module:Class`."""
CLASS = "KIND"
"""Name of the class in a shipped module."""


@functools.cache
def suite_kinds() -> Mapping[str, type[Suite]]:
    """Class of the declaration, by kind."""
    return registered(SHIPPED, CLASS, GROUP)


def read_suite(value: Mapping[str, Any]) -> Suite:
    """The suite that JSON describes. Raises KeyError for an unknown kind, or ValidationError."""
    return suite_kinds()[value["kind"]].model_validate(value)


if TYPE_CHECKING:
    AnySuite = Suite
else:
    # A union that is known only when the program runs.
    AnySuite = Annotated[Union[tuple(suite_kinds().values())], Field(discriminator="kind")]  # noqa: UP007
"""A suite of any registered kind, for the schemas of requests."""
