"""Answers predictions: a bare ASGI application over ONNX Runtime.

`POST /predict` takes `{"inputs": [[...], ...]}`, or `{"rows": [{"feature": value}, ...]}` where
the model has named features. `/docs.json` is the OpenAPI document, made from the signature.
"""

import hashlib
import json
import os
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime
from batching import Batcher
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from request_log import RequestLog

HERE = Path(__file__).resolve().parent
LARGEST_BODY = 16 * 1024 * 1024
MOST_ROWS = 65_536

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


class BadRequest(Exception):
    """A request that cannot be answered; says what was got and what was expected."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Model:
    """The artefact beside this file, whose bytes are those that were registered."""

    def __init__(self, folder: Path) -> None:
        self.identity = json.loads((folder / "identity.json").read_bytes())
        artefact = folder / "artefact"
        manifest = json.loads((artefact / "manifest.json").read_bytes())
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
        onnx = (artefact / "model.onnx").read_bytes()
        if digest != self.identity["artefact_digest"] or (
            hashlib.sha256(onnx).hexdigest() != manifest["model.onnx"]
        ):
            raise RuntimeError(f"the model in {folder} is not the one that was registered")
        self.signature = json.loads((artefact / "signature.json").read_bytes())
        self._name = self.signature["input"]["name"]
        self._dtype = np.dtype(self.signature["input"]["dtype"])
        self._shape = tuple(self.signature["input"]["shape"])
        self._classes = self.signature["classes"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            onnx, options, providers=["CPUExecutionProvider"]
        )
        self.outputs(np.zeros((1, *self._shape), self._dtype))

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """Raw outputs [rows, ...]."""
        return self._session.run(None, {self._name: rows})[0]

    def rows_of(self, body: bytes) -> tuple[list[Any], np.ndarray]:
        """The rows as given and as an array. Raises BadRequest."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"the body is not JSON: {error}") from None
        if isinstance(asked, dict) and "rows" in asked:
            given = self._ordered(asked["rows"])
        elif isinstance(asked, dict) and "inputs" in asked:
            given = asked["inputs"]
        else:
            raise BadRequest('expected {"inputs": [[...], ...]}; see /docs.json')
        if not isinstance(given, list) or not given:
            raise BadRequest("inputs is empty or not a list, expected at least one row")
        try:
            rows = np.asarray(given, self._dtype)
        except (ValueError, TypeError, OverflowError):
            raise BadRequest(
                f"inputs are not numbers of one shape, expected rows of {list(self._shape)} "
                f"{self._dtype}"
            ) from None
        if rows.shape[1:] != self._shape:
            raise BadRequest(
                f"got rows of shape {list(rows.shape[1:])}, expected {list(self._shape)}"
            )
        if len(rows) > MOST_ROWS:
            raise BadRequest(f"got {len(rows)} rows, expected at most {MOST_ROWS}", 413)
        if not np.isfinite(rows).all():
            raise BadRequest("inputs hold NaN or infinite values, expected finite numbers")
        return given, rows

    def _ordered(self, rows: Any) -> list[list[Any]]:
        features = self.signature["features"]
        if not features:
            raise BadRequest("this model has no named features; send inputs")
        try:
            return [[row[name] for name in features] for row in rows]
        except KeyError as error:
            raise BadRequest(f"a row lacks the feature {error}") from None
        except TypeError:
            raise BadRequest("rows is not a list of objects by feature name") from None

    def predictions(self, outputs: np.ndarray) -> list[Any]:
        """Class names, action numbers, or values."""
        if self.signature["task"] == "regression":
            return outputs.reshape(len(outputs), -1).squeeze(1).tolist()
        best = outputs.argmax(axis=1).tolist()
        return [self._classes[index] for index in best] if self._classes else best


class App:
    """The ASGI application."""

    def __init__(self, model: Model, log: RequestLog | None) -> None:
        self._model, self._log = model, log
        self._batcher = Batcher(model.outputs, model.identity["max_rows"], BATCH_ROWS.observe)
        self._answered = {
            status: REQUESTS.labels(str(status)) for status in (200, 400, 404, 405, 413, 500)
        }
        identity = {**model.identity, "pid": os.getpid()}
        self._pages = {
            "/livez": _json(identity),
            "/readyz": _json(identity),
            "/docs.json": _json(openapi(model)),
            "/schema.json": _json(model.signature),
        }
        self._version = str(model.identity["model_version"]).encode()

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/predict" and method == "POST":
            await self._predict(receive, send)
        elif path in self._pages and method == "GET":
            await self._reply(send, 200, self._pages[path])
        elif path == "/metrics" and method == "GET":
            await self._reply(send, 200, generate_latest(), CONTENT_TYPE_LATEST.encode())
        elif path in self._pages or path in ("/predict", "/metrics"):
            await self._reply(send, 405, _json({"error": f"{path} does not take {method}"}))
        else:
            known = ", ".join([*self._pages, "/predict", "/metrics"])
            await self._reply(send, 404, _json({"error": f"no {path}; there is {known}"}))

    async def _predict(self, receive: Any, send: Any) -> None:
        started = perf_counter()
        try:
            given, rows = self._model.rows_of(await _body(receive))
            outputs = await self._batcher.outputs(rows)
            predictions = self._model.predictions(outputs)
            status = 200
            answer: dict[str, Any] = {
                "predictions": predictions,
                "outputs": outputs.tolist(),
                "model_version": self._model.identity["model_version"],
            }
        except BadRequest as error:
            status, answer = error.status, {"error": str(error)}
        except Exception as error:
            status, answer = 500, {"error": f"the model failed: {type(error).__name__}"}
        await self._reply(send, status, _json(answer))
        self._answered[status].inc()
        SECONDS.observe(perf_counter() - started)
        if self._log and status == 200:
            self._log.add(given, predictions, self._model.identity["model_version"])

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


async def _body(receive: Any) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > LARGEST_BODY:
            raise BadRequest(f"the body is larger than {LARGEST_BODY} bytes", 413)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def openapi(model: Model) -> dict[str, Any]:
    """OpenAPI 3.1 document of the service, typed by the model's signature."""
    row: dict[str, Any] = {"type": "number"}
    for size in reversed(model.signature["input"]["shape"]):
        row = {"type": "array", "items": row, "minItems": size, "maxItems": size}
    rows = {"type": "array", "items": row, "minItems": 1}
    prediction = (
        {"enum": model.signature["classes"]} if model.signature["classes"] else {"type": "number"}
    )
    reply = {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": prediction},
            "outputs": {"type": "array"},
            "model_version": {"type": "integer"},
        },
    }
    request = {"type": "object", "required": ["inputs"], "properties": {"inputs": rows}}
    content = {"application/json": {"schema": request}}
    error = {"description": "What was got and what was expected."}
    ok = {"description": "Predictions.", "content": {"application/json": {"schema": reply}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": model.identity["service"], "version": model.identity["version"]},
        "paths": {
            "/predict": {
                "post": {
                    "requestBody": {"required": True, "content": content},
                    "responses": {"200": ok, "400": error, "413": error},
                }
            }
        },
    }


def load_app() -> App:
    """The application for the Bento that this file lies in."""
    return App(Model(HERE), RequestLog.from_environment())
