"""Evaluation of a model that writes texts on the held-out split."""

import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from engine.artefact import Signature
from engine.rows import columns_of, read_batches, read_rows
from engine.runtime.conversations import ANSWER, messages_of
from engine.runtime.model import Model
from engine.runtime.tensors import tensors_of
from engine.task_metrics import metrics_of
from engine.task_scores import scores_of
from training.contract import DatasetFiles

MOST_WRITTEN = 200
"""Rows for which the model writes, spread over the split: writing costs as much as reading a text
many times."""
SHOWN, LISTED = 8, 50
"""Samples of the picture, and of the text beside it."""
NAMES = ("given", "wanted", "written")
WIDTH = 44
"""Characters of a line of a sample."""


def evaluate_texts(
    model: Model, signature: Signature, dataset: DatasetFiles, pictures: Path
) -> dict[str, float]:
    """Perplexity of the true texts of all rows, and of some rows the share in which the model
    writes them; shows samples of what it writes."""
    (column,) = signature.columns
    inputs = [each.model_dump() for each in signature.inputs]
    label = dataset.label or ""
    scores, rows = [], 0
    for batch in read_batches(dataset.test, [column.name, label]):
        tensors = tensors_of(columns_of(batch, signature.columns), inputs)
        truth = batch.column(label).to_numpy(zero_copy_only=False)
        scores.append(scores_of(model, tensors, truth))
        rows += len(truth)
    perplexity = metrics_of(signature.task)["perplexity"].of(np.empty(rows), np.concatenate(scores))
    asked = _spread(dataset, [column.name, label], rows)
    texts = asked.column(column.name).to_pylist()
    tensors = tensors_of(columns_of(asked, signature.columns), inputs)
    written = [text.strip() for text in model.answers(tensors)]
    wanted = [text.strip() for text in asked.column(label).to_pylist()]
    is_talk = label == f"{column.name}{ANSWER}"
    shown = [_told(text) for text in texts] if is_talk else texts
    samples = list(zip(shown, wanted, written, strict=True))
    _draw(samples[:SHOWN], pictures / "samples.png")
    (pictures / "samples.txt").write_text(_listed(samples[:LISTED]), encoding="utf-8")
    usual = Counter(read_rows(dataset.train, [label]).column(0).to_pylist()).most_common(1)
    return {
        "test_rows": float(rows),
        "test_perplexity": perplexity,
        "test_exact_match": _share(written, wanted),
        "baseline_exact_match": _share([usual[0][0].strip()] * len(wanted), wanted),
    }


def _spread(dataset: DatasetFiles, columns: list[str], rows: int) -> pa.Table:
    """Rows from everywhere: files may be sorted."""
    step = max(1, rows // MOST_WRITTEN)
    parts, seen = [], 0
    for batch in read_batches(dataset.test, columns):
        places = np.arange(-seen % step, len(batch), step)
        parts.append(batch.take(pa.array(places)))
        seen += len(batch)
    return pa.Table.from_batches(parts).slice(0, MOST_WRITTEN)


def _share(written: list[str], wanted: list[str]) -> float:
    return float(np.mean([got == text for got, text in zip(written, wanted, strict=True)]))


def _told(conversation: str) -> str:
    """The conversation as people read it."""
    return "\n".join(f"{each['role']}: {each.get('content')}" for each in messages_of(conversation))


def _listed(samples: list[tuple[str, str, str]]) -> str:
    """The samples as they are, whatever their length."""
    return "\n".join(
        "\n".join(f"--- {name}\n{text}" for name, text in zip(NAMES, sample, strict=True)) + "\n"
        for sample in samples
    )


def _draw(samples: list[tuple[str, str, str]], path: Path) -> None:
    """A table of what was given, wanted and written."""
    cells = [[_lines(text) for text in sample] for sample in samples]
    heights = [max(text.count("\n") + 1 for text in row) for row in cells]
    figure = Figure(figsize=(12, 0.8 + 0.25 * sum(heights)), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    table = axes.table(cells, colLabels=NAMES, loc="center", cellLoc="left")
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    for (row, _), cell in table.get_celld().items():
        cell.set_height((heights[row - 1] if row else 1) / (sum(heights) + 2))
    figure.savefig(path, dpi=90)


def _lines(text: str) -> str:
    """The text in few lines, in which `$` begins no formula."""
    short = textwrap.shorten(text, 4 * WIDTH, placeholder=" ...")
    return "\n".join(textwrap.wrap(short.replace("$", r"\$"), WIDTH)) or "(nothing)"
