"""What every protocol of a service shares: one model behind one batcher, limits, counts and log."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from batching import Batcher
from model import Model
from prometheus_client import Counter, Histogram
from request_log import RequestLog
from runtime.bad_request import BadRequest
from runtime.request import Request, RequestReader

REQUESTS = Counter("predict_requests", "Requests by HTTP status.", ["status"])
SECONDS = Histogram(
    "predict_seconds",
    "Time to answer a prediction.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_ROWS = Histogram(
    "predict_batch_rows",
    "Rows per call of the model.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 1024),
)
ANSWERED, FAILED = 200, 500
STATUSES = (ANSWERED, 400, 404, 405, 413, 415, 422, FAILED)


class ModelFailed(Exception):
    """The model raised an error; which one, its message says."""


class Answer(NamedTuple):
    """What the model gave for a request."""

    rows: Any
    """Values of every row, as the log keeps them."""
    outputs: np.ndarray
    """Finite numbers, or texts, [rows, ...]."""
    request_id: str


class Answers:
    """Answers requests, whatever protocol they came by."""

    def __init__(self, model: Model, log: RequestLog | None) -> None:
        self.model, self._log = model, log
        limits = model.identity["limits"]
        self.reader = RequestReader(model.signature, limits["rows"])
        self.largest_body: int = limits["bytes"]
        self.identity = {**model.identity, "pid": os.getpid()}
        self._batcher = Batcher(model.outputs, model.identity["max_rows"], BATCH_ROWS.observe)
        self._counts = {status: REQUESTS.labels(str(status)) for status in STATUSES}

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
            raise ModelFailed(f"the model failed: {type(error).__name__}") from error
        return Answer(request.rows, outputs, request_id or uuid.uuid4().hex)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request, by its outcome and its time; one that the client gave up is not."""
        started, status = perf_counter(), ANSWERED
        try:
            yield
        except BadRequest as error:
            status = error.status
            raise
        except Exception:
            status = FAILED
            raise
        except BaseException:
            status = 0
            raise
        finally:
            if status:
                self._counts[status].inc()
                SECONDS.observe(perf_counter() - started)

    def log(self, answer: Answer, predictions: list[Any] | None = None) -> None:
        """Keep the request, where there is a log; predictions that are known are not made anew."""
        if self._log is None:
            return
        if predictions is None:
            predictions = self.model.predictions(answer.outputs)
        said = {
            "predictions": predictions,
            "model_version": self.identity["model_version"],
            "request_id": answer.request_id,
        }
        self._log.add(answer.rows, said)


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
