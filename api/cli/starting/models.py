"""A project from a model that is there already, and what proves it: the rows of a table, or the
episodes of an environment."""

from dataclasses import replace
from pathlib import Path

from api.cli.starting import environments, tables
from api.cli.starting.draft import CannotStart, Draft, Request
from projects.finished_model import FINISHED
from training.finished.format import model_formats

KNOWN = ".onnx, .skops, .ubj or .json of XGBoost"
"""Shipped formats, for errors."""


def recognises(source: str) -> bool:
    """Whether the source is a model in a file or a folder."""
    place = Path(source)
    return place.exists() and any(each.recognises(place) for each in model_formats().values())


def draft(request: Request) -> Draft:
    """The project of the model. Raises CannotStart."""
    if request.environment is not None:
        return environments.draft_of_policy(request)
    data = request.data or request.ask("Which table has rows to prove it with?", "")
    if not tables.recognises(data):
        raise CannotStart(
            f"got {data!r} as the table whose rows prove the model, expected a file: --data FILE "
            f"({', '.join(tables.SUFFIXES)}); for a policy name its environment: --environment ID"
        )
    model = str(Path(request.source).absolute())
    origin = tables.Origin("the model", FINISHED, [{"model": model}], is_learned=False)
    return tables.draft(replace(request, source=data), origin)
