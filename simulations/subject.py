"""The subject of a simulation: an exported artefact, loaded without any training code."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine.artefact import PROGRAM, Signature, read_signature, verify
from engine.protocol import Refused
from engine.rows import columns_of
from engine.runtime.bad_request import BadRequest
from engine.runtime.model import Model
from engine.runtime.predictions import predictions_of
from engine.runtime.request import RequestReader
from engine.runtime.tensors import Columns, Misfit, Tensors, tensors_of
from engine.runtime.writing import written
from engine.task_metrics import TaskMetric
from engine.task_scores import ROWS_AT_ONCE, scores_of

MOST_ROWS = 1_000_000
"""Rows of one call of `predicted`."""


class Subject:
    """A model version under trial; answers in batches as a service would."""

    def __init__(self, folder: Path, digest: str) -> None:
        """Raises engine.artefact.ArtefactCorrupt unless the bytes are those of the digest."""
        verify(folder, digest)
        self._folder = folder
        self.signature: Signature = read_signature(folder)
        self._model = Model(folder)
        self._reader = RequestReader(self._model.signature, MOST_ROWS)
        self._inputs = [each.model_dump() for each in self.signature.inputs]

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """Scores or values [rows, ...] for rows that fill the only input."""
        tensors = {self._inputs[0]["name"]: rows}
        return self._model.answers_in_parts(tensors, ROWS_AT_ONCE)

    def choices(self, rows: np.ndarray) -> np.ndarray:
        """Most likely class or action, int64 [rows]."""
        return self.outputs(rows).argmax(axis=1)

    def answers(self, columns: Columns) -> np.ndarray:
        """Scores, values or texts [rows, ...] for rows by column. Raises Refused."""
        return self._model.answers_in_parts(self._tensors(columns), ROWS_AT_ONCE)

    def _tensors(self, columns: Columns) -> Tensors:
        try:
            return tensors_of(columns, self._inputs)
        except Misfit as error:
            raise Refused(str(error)) from error

    def scores(
        self,
        columns: Columns,
        truth: np.ndarray | None = None,
        metrics: Iterable[TaskMetric] = (),
    ) -> np.ndarray:
        """What the metrics of the model's task are computed from (`engine.task_scores`), float64;
        a model that writes needs the true texts. Raises Refused."""
        return scores_of(self._model, self._tensors(columns), truth, metrics)

    def predictions(self, columns: Columns) -> list[Any]:
        """Class name, action or value of each row, as a service answers."""
        return predictions_of(self._model.signature, self.answers(columns))

    def predicted(self, rows: Any) -> list[Any]:
        """What a service answers for rows: a list of objects by column name or of values by
        position, an Arrow table, or an array for the only input. Raises Refused."""
        if isinstance(rows, np.ndarray):
            return predictions_of(self._model.signature, self.outputs(rows))
        if isinstance(rows, pa.Table):
            return self.predictions(columns_of(rows, self.signature.columns))
        by_name = bool(rows) and isinstance(rows[0], dict)
        request = json.dumps({"rows" if by_name else "inputs": list(rows)}).encode()
        try:
            tensors = self._reader.read(request).tensors
        except BadRequest as error:
            raise Refused(f"predict: {error}") from error
        answers = self._model.answers_in_parts(tensors, ROWS_AT_ONCE)
        return predictions_of(self._model.signature, answers)

    def chatted(self, conversations: Sequence[Sequence[dict[str, str]]]) -> list[str]:
        """What a model that writes answers to the messages (`role`, `content`) of each
        conversation, as a service does by its chat template. Raises Refused."""
        writer = self._model.writer
        if writer is None:
            raise Refused("messages are answered by models that write texts, and this one does not")
        try:
            prompts = [writer.chat(messages) for messages in conversations]
        except BadRequest as error:
            raise Refused(f"chat: {error}") from error
        room = writer.longest - writer.written
        longest = max(prompts, key=lambda prompt: len(prompt.tokens))
        if len(longest.tokens) > room:
            raise Refused(
                f"chat: got {len(longest.tokens)} tokens ({longest.text!r:.80}), expected at most "
                f"{room}, which leaves room for the {writer.written} that follow"
            )
        return written(writer, prompts)

    @property
    def program(self) -> Path:
        """File of the differentiable program. Raises Refused where the artefact has none."""
        if not (self._folder / PROGRAM).exists():
            raise Refused(
                f"a gradient attack needs {PROGRAM} in the artefact, and it has none; let the "
                f"trainer leave {PROGRAM} in its last checkpoint"
            )
        return self._folder / PROGRAM
