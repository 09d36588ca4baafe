"""Answers predictions: a bare ASGI application over ONNX Runtime.

`POST /predict` takes `{"inputs": [[...], ...]}`, or `{"rows": [{"column": value}, ...]}` where
the model has columns. `/example` is what it answers to the example that was registered with
the model, `/docs.json` the OpenAPI document, made from the signature.
"""

import hashlib
import json
import os
import uuid
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from batching import Batcher
from openapi import openapi
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from request_log import RequestLog
from runtime.bad_request import BadRequest
from runtime.onnx_model import FILE, OnnxModel, zeros
from runtime.predictions import predictions_of, probabilities_of
from runtime.request import RequestReader
from runtime.tensors import Tensors

HERE = Path(__file__).resolve().parent
DIGITS = 6
"""Decimals of a probability."""

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


class Model:
    """The artefact beside this file, whose bytes are those that were registered."""

    def __init__(self, folder: Path) -> None:
        self.identity = json.loads((folder / "identity.json").read_bytes())
        artefact = folder / "artefact"
        manifest = json.loads((artefact / "manifest.json").read_bytes())
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
        if digest != self.identity["artefact_digest"]:
            raise RuntimeError(f"the model in {folder} is not the one that was registered")
        self._model = OnnxModel(artefact, manifest[FILE])
        self.signature = self._model.signature
        self.example = (artefact / "input_example.json").read_bytes()
        # The first call of a model takes longer than others.
        self._model.answers(zeros(self.signature))

    def outputs(self, tensors: Tensors) -> np.ndarray:
        """Scores or values [rows, ...]."""
        return self._model.answers(tensors)

    def answer(self, outputs: np.ndarray) -> dict[str, Any]:
        """What is answered of the outputs."""
        answer = {
            "predictions": predictions_of(self.signature, outputs),
            "outputs": outputs.tolist(),
            "model_version": self.identity["model_version"],
            "dataset_version": self.identity["dataset_version"],
            "request_id": uuid.uuid4().hex,
        }
        probabilities = probabilities_of(self.signature, outputs)
        if probabilities is not None:
            answer["classes"] = self.signature["classes"]
            answer["probabilities"] = probabilities.round(DIGITS).tolist()
        return answer


class App:
    """The ASGI application."""

    def __init__(self, model: Model, log: RequestLog | None) -> None:
        self._model, self._log = model, log
        limits = model.identity["limits"]
        self._reader = RequestReader(model.signature, limits["rows"])
        self._largest_body = limits["bytes"]
        self._example = b'{"inputs": %b}' % model.example
        self._batcher = Batcher(model.outputs, model.identity["max_rows"], BATCH_ROWS.observe)
        self._answered = {
            status: REQUESTS.labels(str(status)) for status in (200, 400, 404, 405, 413, 422, 500)
        }
        identity = {**model.identity, "pid": os.getpid()}
        self._pages = {
            "/livez": _json(identity),
            "/readyz": _json(identity),
            "/docs.json": _json(openapi(model.signature, model.identity)),
            "/schema.json": _json(model.signature),
            "/example.json": self._example,
        }
        self._version = str(model.identity["model_version"]).encode()

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/predict" and method == "POST":
            await self._predict(receive, send)
        elif path in self._pages and method == "GET":
            await self._reply(send, 200, self._pages[path])
        elif path == "/example" and method == "GET":
            status, answer, _ = await self._answer(self._example)
            await self._reply(send, status, _json(answer))
        elif path == "/metrics" and method == "GET":
            await self._reply(send, 200, generate_latest(), CONTENT_TYPE_LATEST.encode())
        elif path in self._pages or path in ("/predict", "/example", "/metrics"):
            await self._reply(send, 405, _json({"error": f"{path} does not take {method}"}))
        else:
            known = ", ".join([*self._pages, "/predict", "/example", "/metrics"])
            await self._reply(send, 404, _json({"error": f"no {path}; there is {known}"}))

    async def _predict(self, receive: Any, send: Any) -> None:
        started = perf_counter()
        try:
            status, answer, rows = await self._answer(await _body(receive, self._largest_body))
        except BadRequest as error:
            status, answer, rows = error.status, _refusal(error), None
        await self._reply(send, status, _json(answer))
        self._answered[status].inc()
        SECONDS.observe(perf_counter() - started)
        if self._log and rows is not None:
            self._log.add(rows, answer)

    async def _answer(self, body: bytes) -> tuple[int, dict[str, Any], Any]:
        """Status and answer, and the rows that were predicted where there is a prediction."""
        try:
            request = self._reader.read(body)
            outputs = await self._batcher.outputs(request.tensors)
            _require_finite(outputs)
            answer = self._model.answer(outputs)
        except BadRequest as error:
            return error.status, _refusal(error), None
        except Exception as error:
            return 500, {"error": f"the model failed: {type(error).__name__}"}, None
        return 200, answer, request.rows

    async def _reply(
        self, send: Any, status: int, body: bytes, kind: bytes = b"application/json"
    ) -> None:
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"x-model-version", self._version),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _body(receive: Any, largest: int) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > largest:
            raise BadRequest(f"the body has more than {largest} bytes; send fewer rows", 413)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _refusal(error: BadRequest) -> dict[str, str]:
    where = {"field": error.field} if error.field else {}
    return {"error": str(error), "kind": error.kind, **where}


def _require_finite(outputs: np.ndarray) -> None:
    """Return when JSON can say every output. Raises BadRequest."""
    if not (finite := np.isfinite(outputs)).all():
        place = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise BadRequest(
            f"row {place[0]}: the model gave {outputs[place]}, expected a finite number; the row "
            "is outside of what the model can compute, so send values like those it learned from",
            422,
        )


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def load_app() -> App:
    """The application for the Bento that this file lies in."""
    model = Model(HERE)
    columns = [column["name"] for column in model.signature["columns"]]
    return App(model, RequestLog.from_env_vars(columns))
