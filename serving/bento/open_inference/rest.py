"""The protocol over REST, with its extension for binary tensors.

A request with `Inference-Header-Content-Length` is that many bytes of JSON, and after them the raw
values of the inputs that have a `binary_data_size`, in their order. Outputs are answered likewise
where they are asked for with `binary_data`, or all with `binary_data_output`.
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from answers import Counted, ModelFailed
from runtime.bad_request import BadRequest, shown
from runtime.request import parsed_json

from .models import EXTENSIONS, SERVER, Inference, ServedModel
from .tensor import Tensor, raw_of, tensor_of_raw, tensor_of_values

JSON_BYTES = b"inference-header-content-length"
MODEL = re.compile(r"/models/([^/]+)(?:/versions/([^/]+))?(/ready|/infer)?")
Headers = list[tuple[bytes, bytes]]
Body = Callable[[], Awaitable[bytes]]


class Reply(NamedTuple):
    """What is answered."""

    status: int
    body: bytes
    headers: Headers


class Rest:
    """Answers the protocol's paths below `/v2`."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self._pages = {
            "": {
                "name": SERVER,
                "version": served.server_version,
                "extensions": list(EXTENSIONS),
            },
            "/health/live": {"live": True},
            "/health/ready": {"ready": True},
        }

    async def answer(
        self, method: str, path: str, headers: dict[bytes, bytes], body: Body
    ) -> Reply:
        """The reply to a request for the path, without `/v2`; headers by their small letters."""
        path = path.rstrip("/")
        try:
            if path in self._pages:
                return self._page(method, path, self._pages[path])
            match = MODEL.fullmatch(path)
            if match is None:
                text = f"no /v2{path:.200}; there is /v2, /v2/health/live, /v2/health/ready and"
                raise BadRequest(f"{text} /v2/models/NAME with /ready and /infer", 404)
            name, version, verb = match[1], match[2] or "", match[3]
            if verb != "/infer":
                self._served.require(name, version)
                page = {"name": name, "ready": True} if verb else self._served.metadata()
                return self._page(method, path, page)
            with Counted():
                _require_method(method, "POST", path)
                return await self._infer(name, version, headers, await body())
        except BadRequest as error:
            return _json_reply(error.status, {"error": str(error)})
        except ModelFailed as error:
            return _json_reply(500, {"error": str(error)})

    def _page(self, method: str, path: str, page: dict[str, Any]) -> Reply:
        _require_method(method, "GET", path)
        return _json_reply(200, page)

    async def _infer(
        self, name: str, version: str, headers: dict[bytes, bytes], body: bytes
    ) -> Reply:
        if coding := headers.get(b"content-encoding"):
            text = f"got a body coded by {coding.decode('latin-1')!r:.40}, expected a plain one"
            raise BadRequest(text, 415)
        size = _json_size(headers, len(body))
        request = _object(parsed_json(body[:size]), "the body")
        asked = [_asked(each) for each in _list(request, "outputs")]
        inference = Inference(
            name,
            version,
            _text(request, "id", "the body"),
            lambda: _tensors(request, memoryview(body)[size:]),
            [each.name for each in asked],
        )
        inferred = await self._served.infer(inference)
        is_binary = bool(_parameters(request, "the body").get("binary_data_output", False))
        choice = {each.name: each.is_binary for each in asked}
        binary = [choice.get(each.name, is_binary) for each in inferred.tensors]
        head = {
            "model_name": name,
            "model_version": self._served.version,
            "id": inferred.id,
            "parameters": self._served.parameters,
        }
        return _inferred_reply(head, inferred.tensors, binary)


class _Asked(NamedTuple):
    """An output that is asked for."""

    name: str
    is_binary: bool


def _asked(given: Any) -> _Asked:
    output = _object(given, "an output")
    name = _text(output, "name", "an output")
    parameters = _parameters(output, f"output {name!r}")
    if parameters.get("classification"):
        text = f"output {name!r}: got the parameter `classification`, which is not offered"
        raise BadRequest(f"{text}; ask for the outputs `predictions` and `probabilities`")
    return _Asked(name, bool(parameters.get("binary_data", False)))


def _tensors(request: dict[str, Any], raw: memoryview) -> list[Tensor]:
    """The tensors of the request, some of whose values are raw bytes. Raises BadRequest."""
    tensors, start = [], 0
    for given in _list(request, "inputs"):
        tensor = _object(given, "an input")
        name = _text(tensor, "name", "an input")
        size = _parameters(tensor, f"input {name!r}").get("binary_data_size")
        datatype, shape = tensor.get("datatype"), tensor.get("shape")
        if size is None:
            if "data" not in tensor:
                text = f"input {name!r} has neither `data` nor `binary_data_size`"
                raise BadRequest(f"{text}, expected its values in one of the two ways")
            tensors.append(tensor_of_values(name, datatype, shape, tensor["data"]))
            continue
        if type(size) is not int or not 0 <= size <= len(raw) - start:
            text = f"input {name!r}: got {shown(size)} as binary_data_size"
            raise BadRequest(f"{text}, expected at most the {len(raw) - start} bytes that follow")
        part = bytes(raw[start : start + size])
        tensors.append(tensor_of_raw(name, datatype, shape, part))
        start += size
    if start != len(raw):
        text = f"got {len(raw)} bytes after the JSON, expected {start} as the inputs say"
        raise BadRequest(f"{text} in their `binary_data_size`")
    return tensors


def _inferred_reply(head: dict[str, Any], tensors: list[Tensor], binary: list[bool]) -> Reply:
    outputs, raws = [], []
    for tensor, is_binary in zip(tensors, binary, strict=True):
        output: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.values.shape),
        }
        if is_binary:
            raws.append(raw_of(tensor))
            output["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            output["data"] = tensor.values.ravel().tolist()
        outputs.append(output)
    reply = _json_reply(200, {**head, "outputs": outputs})
    if not raws:
        return reply
    headers = [
        (b"content-type", b"application/octet-stream"),
        (JSON_BYTES, str(len(reply.body)).encode()),
    ]
    return Reply(200, b"".join([reply.body, *raws]), headers)


def _json_size(headers: dict[bytes, bytes], most: int) -> int:
    """How many bytes of the body are JSON. Raises BadRequest."""
    said = headers.get(JSON_BYTES)
    if said is None:
        return most
    if not said.isdigit() or len(said) > 10 or int(said) > most:
        text = f"got {said.decode('latin-1')!r:.40} as {JSON_BYTES.decode()}"
        raise BadRequest(f"{text}, expected at most the {most} bytes of the body", kind="malformed")
    return int(said)


def _require_method(method: str, expected: str, path: str) -> None:
    if method != expected:
        raise BadRequest(f"/v2{path} does not take {method}, expected {expected}", 405)


def _object(given: Any, what: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise BadRequest(f"{what}: got {shown(given)}, expected an object")
    return given


def _list(given: dict[str, Any], name: str) -> list[Any]:
    """The list of that name, empty where there is none. Raises BadRequest."""
    value = given.get(name) or []
    if not isinstance(value, list):
        raise BadRequest(f"{name}: got {shown(value)}, expected a list")
    return value


def _text(given: dict[str, Any], name: str, what: str) -> str:
    """The text of that name, empty where there is none. Raises BadRequest."""
    value = given.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{what}: got {shown(value)} as {name}, expected a text")
    return value


def _parameters(given: dict[str, Any], what: str) -> dict[str, Any]:
    return _object(given.get("parameters") or {}, f"parameters of {what}")


def _json_reply(status: int, value: dict[str, Any]) -> Reply:
    return Reply(status, json.dumps(value).encode(), [(b"content-type", b"application/json")])
