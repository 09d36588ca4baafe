"""Answers predictions: a bare ASGI application over ONNX Runtime.

`POST /predict` takes `{"inputs": [[...], ...]}`, or `{"rows": [{"column": value}, ...]}` where
the model has columns; `/v2/...` is the Open Inference Protocol, and `/v1/...` OpenAI's, where the
model writes texts. `/example` is what `/predict` answers to the example that was registered with
the model, `/docs.json` the OpenAPI document, made from the signature.
"""

import json
import os
from pathlib import Path
from typing import Any

from answers import Answer, Answers, Counted, ModelFailed
from asgi import Headers, reply, whole_body
from completions.rest import Completions
from lifespan import Lifespan
from model import Model
from open_inference.models import ServedModel
from open_inference.rest import Rest
from openapi import openapi
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from request_log import RequestLog
from runtime.bad_request import BadRequest

HERE = Path(__file__).resolve().parent
OPEN_INFERENCE = "/v2"
"""Path of the Open Inference Protocol."""
COMPLETIONS = "/v1"
"""Path of completions, where the model writes texts."""


class App:
    """The ASGI application."""

    def __init__(self, answers: Answers, host: str, grpc_port: int | None) -> None:
        """Where there is a port of gRPC, it is answered there too."""
        self._answers, self._model = answers, answers.model
        model = answers.model
        self._example = b'{"inputs": %b}' % model.example
        served = ServedModel(answers)
        self._rest = Rest(served)
        writer = model.writer
        self._completions = None if writer is None else Completions(answers, writer)
        self._lifespan = Lifespan(served, host, grpc_port)
        identity = _json({**answers.identity, "grpc_port": grpc_port})
        self._pages = {
            "/livez": identity,
            "/readyz": identity,
            "/docs.json": _json(openapi(model.signature, model.identity, served.metadata())),
            "/schema.json": _json(model.signature),
            "/example.json": self._example,
        }
        self._version = str(model.identity["model_version"]).encode()
        self.head = b"content-type: application/json\r\nx-model-version: %b\r\ncontent-length: "
        """Headers of what is answered at once, up to the length of the body."""
        self.head %= self._version

    @property
    def is_quick(self) -> bool:
        """Whether predictions may be answered at once."""
        return self._answers.is_quick

    def at_once(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a request for `/predict`, of a quick model."""
        try:
            with Counted():
                return 200, self._said(self._answers.answer_at_once(body), is_logged=True)
        except (BadRequest, ModelFailed) as error:
            return _refused(error)

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan.live(receive, send)
            return
        path, method = scope["path"], scope["method"]
        if path == "/predict" and method == "POST":
            await self._predict(receive, send)
        elif (below := _below(OPEN_INFERENCE, path)) is not None:
            await self._infer(scope, below, receive, send)
        elif self._completions and (below := _below(COMPLETIONS, path)) is not None:
            await self._completions.answer(method, below, receive, send)
        else:
            await self._show(method, path, send)

    async def _show(self, method: str, path: str, send: Any) -> None:
        """Answer a request for a page."""
        if path in self._pages and method == "GET":
            await self._reply(send, 200, self._pages[path])
        elif path == "/example" and method == "GET":
            await self._show_example(send)
        elif path == "/metrics" and method == "GET":
            kind = (b"content-type", CONTENT_TYPE_LATEST.encode())
            await self._reply(send, 200, generate_latest(), [kind])
        elif path in self._pages or path in ("/predict", "/example", "/metrics"):
            await self._reply(send, 405, _json({"error": f"{path} does not take {method}"}))
        else:
            protocols = [OPEN_INFERENCE, *([COMPLETIONS] if self._completions else [])]
            known = ", ".join([*self._pages, "/predict", "/example", "/metrics", *protocols])
            await self._reply(send, 404, _json({"error": f"no {path}; there is {known}"}))

    async def _predict(self, receive: Any, send: Any) -> None:
        try:
            with Counted():
                body = await whole_body(receive, self._answers.largest_body)
                status, said = 200, await self._predicted(body, is_logged=True)
        except (BadRequest, ModelFailed) as error:
            status, said = _refused(error)
        await self._reply(send, status, said)

    async def _show_example(self, send: Any) -> None:
        try:
            status, said = 200, await self._predicted(self._example, is_logged=False)
        except (BadRequest, ModelFailed) as error:
            status, said = _refused(error)
        await self._reply(send, status, said)

    async def _predicted(self, body: bytes, *, is_logged: bool) -> bytes:
        """What is answered. Raises BadRequest or ModelFailed."""
        answer = await self._answers.answer(lambda: self._answers.reader.read(body))
        return self._said(answer, is_logged=is_logged)

    def _said(self, answer: Answer, *, is_logged: bool) -> bytes:
        said = self._model.answer(answer.outputs, answer.request_id)
        if is_logged:
            self._answers.log(answer, said["predictions"])
        return _json(said)

    async def _infer(self, scope: dict, path: str, receive: Any, send: Any) -> None:
        async def body() -> bytes:
            return await whole_body(receive, self._answers.largest_body)

        answer = await self._rest.answer(scope["method"], path, dict(scope["headers"]), body)
        await self._reply(send, answer.status, answer.body, answer.headers)

    async def _reply(
        self,
        send: Any,
        status: int,
        body: bytes,
        more: Headers = ((b"content-type", b"application/json"),),
    ) -> None:
        await reply(send, status, body, [*more, (b"x-model-version", self._version)])


def _below(root: str, path: str) -> str | None:
    """What a path has after the root; None where it does not lie below it."""
    return path[len(root) :] if path == root or path.startswith(f"{root}/") else None


def _refused(error: BadRequest | ModelFailed) -> tuple[int, bytes]:
    """Status and body of a refusal."""
    if isinstance(error, ModelFailed):
        return 500, _json({"error": str(error)})
    where = {"field": error.field} if error.field else {}
    return error.status, _json({"error": str(error), "kind": error.kind, **where})


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def load_app() -> App:
    """The application for the Bento that this file lies in.

    It answers gRPC too where PREDICT_GRPC_PORT names a port.
    """
    model = Model(HERE)
    columns = [column["name"] for column in model.signature["columns"]]
    host, port = os.environ.get("PREDICT_HOST", "127.0.0.1"), os.environ.get("PREDICT_GRPC_PORT")
    answers = Answers(model, RequestLog.from_env_vars(columns))
    return App(answers, host, int(port) if port else None)
