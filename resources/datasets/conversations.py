"""Columns of conversations: lists of messages with `role` and `content`, which become two texts."""

import json
from collections.abc import Iterator

import pyarrow as pa

from engine.runtime.conversations import ANSWER, Message, divided
from resources.datasets.remarks import Remark


def are_conversations(kind: pa.DataType) -> bool:
    """Whether values of the type, one of lists, are conversations in words alone."""
    items = kind.value_type
    if not pa.types.is_struct(items):
        return False
    parts = {items.field(i).name: items.field(i).type for i in range(items.num_fields)}
    return all(name in parts and _is_text(parts[name]) for name in ("role", "content"))


def conversations(
    name: str, column: pa.ChunkedArray, remarks: list[Remark]
) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """The column with what is said before the last answer of an assistant, as JSON, and that with
    the answer; both are null where a row has no conversation."""
    before, answers = [], []
    for messages in column.to_pylist():
        said, answer = divided([_without_nulls(each) for each in messages or () if each])
        before.append(json.dumps(said, ensure_ascii=False) if messages else None)
        answers.append(answer)
    reason = (
        f"conversations; {name}{ANSWER} has the last answer of the assistant in each, and {name} "
        "what is said before it, as JSON"
    )
    count = len(column) - column.null_count
    remarks.append(Remark(subject=name, action="converted", count=count, reason=reason))
    yield name, pa.chunked_array([pa.array(before, pa.string())])
    yield f"{name}{ANSWER}", pa.chunked_array([pa.array(answers, pa.string())])


def _without_nulls(message: Message) -> Message:
    """A message with the parts that it has: Arrow gives each those of all."""
    return {key: value for key, value in message.items() if value is not None}


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
