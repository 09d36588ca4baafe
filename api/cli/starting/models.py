"""A project from a model that is there already, and a table whose rows prove it."""

from dataclasses import replace
from pathlib import Path

from api.cli.starting import tables
from api.cli.starting.draft import CannotStart, Draft, Request
from projects.finished_model import FINISHED

SUFFIXES = (".onnx", ".skops")


def recognises(source: str) -> bool:
    """Whether the source is a model in a file, or in a folder of transformers."""
    if source.lower().endswith(SUFFIXES) and Path(source).is_file():
        return True
    return Path(source, "config.json").is_file() and any(Path(source).glob("*.safetensors"))


def draft(request: Request) -> Draft:
    """The project of the model. Raises CannotStart."""
    data = request.data or request.ask("Which table has rows to prove it with?", "")
    if not tables.recognises(data):
        raise CannotStart(
            f"got {data!r} as the table whose rows prove the model, expected a file: --data FILE "
            f"({', '.join(tables.SUFFIXES)})"
        )
    model = str(Path(request.source).absolute())
    origin = tables.Origin("the model", FINISHED, [{"model": model}], is_learned=False)
    return tables.draft(replace(request, source=data), origin)
