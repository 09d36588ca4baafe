"""The protocol over gRPC, and the standard health service beside it.

The server shares the event loop, and so the batches, of REST.
"""

from typing import Any

import grpc
from answers import Counted, ModelFailed
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from runtime.bad_request import BadRequest

from . import open_inference_pb2 as messages
from .models import EXTENSIONS, SERVER, Inference, ServedModel
from .tensor import BYTES, DATATYPES, Tensor, raw_of, tensor_of_raw, tensor_of_values

SERVICE = "inference.GRPCInferenceService"
CODES = {404: grpc.StatusCode.NOT_FOUND, 413: grpc.StatusCode.RESOURCE_EXHAUSTED}
"""gRPC's codes of refusals by the HTTP status; all others are INVALID_ARGUMENT."""
_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""Field of the values by datatype; FP16 has none."""


async def started(served: ServedModel, address: str) -> grpc.aio.Server:
    """The server, which answers at HOST:PORT. Raises RuntimeError when it cannot listen there."""
    options = [
        # Otherwise a second process could take half of the connections to the same port.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", served.answers.largest_body),
        ("grpc.max_send_message_length", -1),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((_handlers(Rpc(served)),))
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ("", SERVICE, served.name):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(address)
    await server.start()
    return server


class Rpc:
    """The methods of the protocol."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served

    async def server_live(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """That the server lives."""
        return messages.ServerLiveResponse(live=True)

    async def server_ready(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """That the model can be asked."""
        return messages.ServerReadyResponse(ready=True)

    async def server_metadata(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """Name and version of the server."""
        return messages.ServerMetadataResponse(
            name=SERVER, version=self._served.server_version, extensions=EXTENSIONS
        )

    async def model_ready(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """That the model of that name and version can be asked; NOT_FOUND for another."""
        await self._require(request, context)
        return messages.ModelReadyResponse(ready=True)

    async def model_metadata(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """Names and types of inputs and outputs; NOT_FOUND for another model."""
        await self._require(request, context)
        return messages.ModelMetadataResponse(**self._served.metadata())

    async def model_infer(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """The outputs; raw where the inputs were, or where only raw bytes can hold them."""
        try:
            with Counted():
                inferred = await self._served.infer(_inference(request))
        except BadRequest as error:
            code = CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT)
            await context.abort(code, str(error))
        except ModelFailed as error:
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
        response = messages.ModelInferResponse(
            model_name=self._served.name,
            model_version=self._served.version,
            id=inferred.id,
            parameters={k: _parameter(v) for k, v in self._served.parameters.items()},
        )
        is_raw = bool(request.raw_input_contents)
        _add(response, inferred.tensors, is_raw=is_raw)
        return response

    async def _require(self, request: Any, context: grpc.aio.ServicerContext) -> None:
        try:
            self._served.require(request.name, request.version)
        except BadRequest as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))


def _handlers(rpc: Rpc) -> grpc.GenericRpcHandler:
    methods = {
        "ServerLive": rpc.server_live,
        "ServerReady": rpc.server_ready,
        "ServerMetadata": rpc.server_metadata,
        "ModelReady": rpc.model_ready,
        "ModelMetadata": rpc.model_metadata,
        "ModelInfer": rpc.model_infer,
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=getattr(messages, f"{name}Request").FromString,
            response_serializer=getattr(messages, f"{name}Response").SerializeToString,
        )
        for name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _inference(request: Any) -> Inference:
    """The request. Raises BadRequest."""
    for output in request.outputs:
        if output.parameters.get("classification") is not None:
            text = f"output {output.name!r}: got the parameter `classification`, which is not"
            raise BadRequest(f"{text} offered; ask for `predictions` and `probabilities`")
    return Inference(
        request.model_name,
        request.model_version,
        request.id,
        lambda: _tensors(request),
        [output.name for output in request.outputs],
    )


def _tensors(request: Any) -> list[Tensor]:
    """The tensors of the request. Raises BadRequest."""
    raws = request.raw_input_contents
    if not raws:
        return [_typed(tensor) for tensor in request.inputs]
    if len(raws) != len(request.inputs):
        text = f"got {len(raws)} raw_input_contents for {len(request.inputs)} inputs"
        raise BadRequest(f"{text}, expected one for each")
    tensors = []
    for tensor, raw in zip(request.inputs, raws, strict=True):
        if tensor.HasField("contents"):
            text = f"input {tensor.name!r}: got `contents` beside raw_input_contents"
            raise BadRequest(f"{text}, expected the values of all inputs in the same way")
        tensors.append(tensor_of_raw(tensor.name, tensor.datatype, list(tensor.shape), raw))
    return tensors


def _typed(tensor: Any) -> Tensor:
    field = _FIELDS.get(tensor.datatype)
    if field is None and tensor.datatype in DATATYPES:
        text = f"input {tensor.name!r}: {tensor.datatype} has no field in `contents`"
        raise BadRequest(f"{text}, expected its values in raw_input_contents")
    given = list(getattr(tensor.contents, field)) if field else []
    return tensor_of_values(tensor.name, tensor.datatype, list(tensor.shape), given)


def _add(response: Any, tensors: list[Tensor], *, is_raw: bool) -> None:
    is_raw = is_raw or any(tensor.datatype not in _FIELDS for tensor in tensors)
    for tensor in tensors:
        output = response.outputs.add(
            name=tensor.name, datatype=tensor.datatype, shape=tensor.values.shape
        )
        if is_raw:
            response.raw_output_contents.append(raw_of(tensor))
            continue
        values = tensor.values.ravel().tolist()
        if tensor.datatype == BYTES:
            values = [str(value).encode() for value in values]
        getattr(output.contents, _FIELDS[tensor.datatype]).extend(values)


def _parameter(value: int | str) -> Any:
    if isinstance(value, int):
        return messages.InferParameter(int64_param=value)
    return messages.InferParameter(string_param=value)
