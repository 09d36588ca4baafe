"""Environment variables: those that settings read, and those that deployments set."""

import importlib
from collections.abc import Iterator
from typing import Any

from pydantic_settings import BaseSettings

from resources.settings import CHECKOUT

ROOMS = (
    "accounts",
    "api",
    "engine",
    "resources",
    "scheduler",
    "serving",
    "simulations",
    "training",
)


def known() -> set[str]:
    """Names of the variables that some class of settings reads."""
    for room in ROOMS:
        for file in (CHECKOUT / room).rglob("*.py"):
            if "(BaseSettings)" in file.read_text():
                importlib.import_module(".".join(file.relative_to(CHECKOUT).with_suffix("").parts))
    return {
        f"{created.model_config['env_prefix']}{field}".upper()
        for created in BaseSettings.__subclasses__()
        for field in created.model_fields
        if created.__module__.split(".")[0] in ROOMS
    }


def ours(names: Iterator[str] | dict[str, Any]) -> set[str]:
    """Those that are Orrery's."""
    return {name for name in names if name.startswith("ORRERY_")}
