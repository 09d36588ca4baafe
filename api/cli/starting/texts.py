"""A project from texts that a model is to write: conversations, or prompts with completions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.cli.starting import tables
from api.cli.starting.draft import CannotStart, Draft, Request, address, scalar
from engine.runtime.conversations import ANSWER
from resources.datasets.conversations import are_conversations

SUFFIXES = (".jsonl", ".parquet")
PAIRS = (("prompt", "completion"), ("instruction", "output"), ("question", "answer"))
"""Names of the column with what is given and of that with what is to be written, as people have
them."""
TRAINER = "training.language.writer:train"
PRETRAINED = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Small enough for a machine without a GPU, with a chat template, and shown to everybody."""


def recognises(source: str) -> bool:
    """Whether the source is a file of such texts, by its first row."""
    place = Path(source)
    if place.suffix.lower() not in SUFFIXES or not place.is_file():
        return False
    return _columns(place) is not None


def draft(request: Request) -> Draft:
    """The project of the texts. Raises CannotStart."""
    found = _columns(Path(request.source))
    if found is None:
        raise CannotStart(f"{request.source} has neither conversations nor prompts to answer")
    read, label = found
    if request.label not in (None, label):
        # Another column is to be predicted, as that of a table is.
        return tables.draft(request)
    pretrained = request.ask("Which pretrained model?", PRETRAINED)
    lines = _lines(request, read, label, pretrained)
    what = "conversations" if label == f"{read}{ANSWER}" else "texts to write after others"
    seen = [f"{what}: the model writes {label} after {read}, beginning as {pretrained}"]
    return Draft(request.name, "\n".join(lines) + "\n", seen)


def _lines(request: Request, read: str, label: str, pretrained: str) -> Iterator[str]:
    yield f"project: {request.name}"
    yield "owner: team:me                       # who answers for it: team:NAME, or an address"
    yield ""
    yield "datasets:"
    yield "  texts:"
    yield f"    source: {scalar('files:' + address(request.source, request.folder))}"
    yield f"    label: {scalar(label)}"
    yield "    task: text-generation"
    yield f"    features: [{scalar(read)}]"
    yield "    split: {test: 0.1, validation: 0.1, seed: 0}"
    yield ""
    yield "models:"
    yield "  model:"
    yield "    dataset: texts"
    yield f"    trainer: {TRAINER}"
    yield "    hyperparameters:"
    yield f"      pretrained: {scalar(pretrained)}    # of the hub, a folder, or s3://BUCKET/FOLDER"
    yield "      epochs: 2"
    yield "      learning_rate: 2.0e-4"
    yield "      lora: {rank: 16, alpha: 32}    # leave it out to learn all weights"
    yield ""
    yield "simulations:"
    yield "  held-out:"
    yield "    model: model"
    yield "    suite: {kind: held_out}"
    yield "    gate:"
    yield "      perplexity: {at_most: 20}      # take validation_perplexity_before as the bound"
    yield ""
    yield "services:"
    yield "  api: {model: model}"


def _columns(place: Path) -> tuple[str, str] | None:
    """The column that is read and the one that is written; None where the file has none such."""
    try:
        names, talks = _parquet(place) if place.suffix == ".parquet" else _json(place)
    except (OSError, ValueError):
        # The module of tables says what is wrong with the file.
        return None
    if talks:
        return talks, f"{talks}{ANSWER}"
    return next((pair for pair in PAIRS if set(pair) <= set(names)), None)


def _parquet(place: Path) -> tuple[list[str], str | None]:
    """Names of the columns, and of the first one of conversations."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(place)
    talks = (f.name for f in schema if pa.types.is_list(f.type) and are_conversations(f.type))
    return schema.names, next(talks, None)


def _json(place: Path) -> tuple[list[str], str | None]:
    with place.open(encoding="utf-8-sig") as lines:
        first: Any = json.loads(next((line for line in lines if line.strip()), "{}"))
    if not isinstance(first, dict):
        return [], None
    talks = (name for name, value in first.items() if _is_conversation(value))
    return list(first), next(talks, None)


def _is_conversation(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and {"role", "content"} <= each.keys() for each in value)
    )
