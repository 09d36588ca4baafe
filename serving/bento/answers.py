"""What every protocol of a service shares: one model behind one batcher, limits, counts and log."""

import os
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from batching import Batcher
from counts import Counter, Histogram
from model import Model
from request_log import RequestLog
from runtime.bad_request import BadRequest
from runtime.request import Request, RequestReader

ANSWERED, FAILED = 200, 500
STATUSES = (ANSWERED, 400, 404, 405, 413, 415, 422, FAILED, 503)
REQUESTS = Counter("predict_requests", "Requests by HTTP status.", "status", STATUSES)
SECONDS = Histogram(
    "predict_seconds",
    "Time to answer a prediction.",
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_ROWS = Histogram(
    "predict_batch_rows",
    "Rows per call of the model.",
    (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024),
)


class ModelFailed(Exception):
    """The model raised an error; which one, its message says."""


class Answer(NamedTuple):
    """What the model gave for a request."""

    rows: Any
    """Values of every row, as the log keeps them."""
    outputs: np.ndarray
    """Finite numbers, or texts, [rows, ...]."""
    request_id: str


class Counted:
    """Counts the request inside, by its outcome and its time; one that the client gave up is not
    counted."""

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            status = ANSWERED
        elif isinstance(error, BadRequest):
            status = error.status
        elif isinstance(error, Exception):
            status = FAILED
        else:
            return
        REQUESTS.count(status)
        SECONDS.observe(perf_counter() - self._started)


class Answers:
    """Answers requests, whatever protocol they came by."""

    def __init__(self, model: Model, log: RequestLog | None) -> None:
        self.model, self._log = model, log
        limits = model.identity["limits"]
        self.reader = RequestReader(model.signature, limits["rows"])
        self.largest_body: int = limits["bytes"]
        self.identity = {**model.identity, "pid": os.getpid()}
        self._batcher = Batcher(model.outputs, model.identity["max_rows"], BATCH_ROWS.observe)

    async def answer(self, read: Callable[[], Request], request_id: str = "") -> Answer:
        """The answer to the request that is read; without an identity it gets a new one.

        Raises BadRequest or ModelFailed.
        """
        try:
            request = read()
            outputs = await self._batcher.outputs(request.tensors)
            _require_finite(outputs)
        except BadRequest:
            raise
        except Exception as error:
            raise failure(error) from error
        return Answer(request.rows, outputs, request_id or new_identity())

    @property
    def is_quick(self) -> bool:
        """Whether the model answers in less time than it takes to wait for it."""
        return self._batcher.is_quick

    def answer_at_once(self, body: bytes) -> Answer:
        """The answer of a quick model to the request. Raises BadRequest or ModelFailed."""
        try:
            request = self.reader.read(body)
            outputs = self._batcher.outputs_at_once(request.tensors)
            _require_finite(outputs)
        except BadRequest:
            raise
        except Exception as error:
            raise failure(error) from error
        return Answer(request.rows, outputs, new_identity())

    def log(self, answer: Answer, predictions: list[Any] | None = None) -> None:
        """Keep the request, where there is a log; predictions that are known are not made anew."""
        if self._log is not None:
            if predictions is None:
                predictions = self.model.predictions(answer.outputs)
            self.keep(answer.rows, predictions, answer.request_id)

    def keep(self, rows: Any, predictions: list[Any], request_id: str) -> None:
        """The same of rows and their predictions."""
        if self._log is not None:
            said = {
                "predictions": predictions,
                "model_version": self.identity["model_version"],
                "request_id": request_id,
            }
            self._log.add(rows, said)


def failure(error: Exception) -> ModelFailed:
    """What is said of an error of the model."""
    return ModelFailed(f"the model failed: {type(error).__name__}")


def new_identity() -> str:
    """An identity for a request."""
    return os.urandom(16).hex()


def _require_finite(outputs: np.ndarray) -> None:
    """Return when JSON can say every output, which texts always are. Raises BadRequest."""
    if outputs.dtype == object:
        return
    if not (finite := np.isfinite(outputs)).all():
        place = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise BadRequest(
            f"row {place[0]}: the model gave {outputs[place]}, expected a finite number; the row "
            "is outside of what the model can compute, so send values like those it learned from",
            422,
        )
