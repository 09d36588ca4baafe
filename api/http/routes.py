"""REST routes made from the operations."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, create_model

from api.access.identity import PRINCIPAL
from api.context import Call
from api.executor import Executor
from api.operations.operation import HEADERS, KEY_FIELD, OnceKey, Operation
from api.problems import ALWAYS, documented

KEY_HELP = "The same key again gets the same answer, and nothing is done twice."
# `X-Accel-Buffering: no` keeps nginx from holding events back.
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def add_routes(app: FastAPI, operations: tuple[Operation, ...], executor: Executor) -> None:
    """Add one route for every operation."""
    for operation in operations:
        app.add_api_route(
            operation.path,
            _endpoint(operation, executor),
            methods=[operation.method],
            operation_id=operation.name,
            summary=operation.summary,
            description=_described(operation),
            tags=[operation.group],
            status_code=operation.status,
            response_class=Response,
            dependencies=[Depends(_admission(operation, executor))],
            responses=_responses(operation),
        )


def _described(operation: Operation) -> str:
    right = f"Needs {operation.permission}." if operation.permission else "Needs a sign-in."
    return f"{operation.summary}\n\n{right}"


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    media = "text/event-stream" if operation.streams else "application/json"
    answer: dict[str, Any] = {"description": "What was asked for."}
    if operation.streams:
        answer["content"] = {media: {"schema": {"type": "string"}}}
        answer["description"] = (
            f"Server-sent events; the data of each is a {operation.output.__name__}."
        )
    else:
        answer["model"] = operation.output
    if "etag" in operation.output.model_fields:
        answer["headers"] = {"ETag": {"schema": {"type": "string"}}}
    return {operation.status: answer, **documented([*ALWAYS, *operation.problems])}


def _admission(operation: Operation, executor: Executor) -> Callable[[Request], Awaitable[None]]:
    """Checks the right before the input: a refused caller learns nothing of its mistakes."""

    async def admission(request: Request) -> None:
        await executor.admit(_call(operation, executor, request), operation)

    return admission


def _call(operation: Operation, executor: Executor, request: Request) -> Call:
    return Call(
        executor.platform,
        request.scope[PRINCIPAL],
        operation.name,
        request.headers.get("X-On-Behalf-Of"),
    )


def _endpoint(operation: Operation, executor: Executor) -> Callable[..., Awaitable[Response]]:
    async def endpoint(request: Request, **parts: Any) -> Response:
        values = dict(parts)
        for whole in ("query", "body"):
            if (given := values.pop(f"the_{whole}", None)) is not None:
                values |= {name: getattr(given, name) for name in type(given).model_fields}
        key = values.pop(KEY_FIELD, None) if operation.is_keyed else None
        call = replace(_call(operation, executor, request), idempotency_key=key)
        command = operation.input.model_construct(**values)
        if operation.streams:
            events = await executor.stream(call, operation, command)
            return StreamingResponse(events, 200, STREAM_HEADERS, "text/event-stream")
        answer = await executor.perform(call, operation, command)
        etag = getattr(answer, "etag", None)
        return Response(
            # Bytes at once: `model_dump_json` would make a text that has to be encoded again.
            answer.__pydantic_serializer__.to_json(answer),
            operation.status,
            {"ETag": etag} if etag else None,
            "application/json",
        )

    # FastAPI reads the parameters of a route from its signature.
    endpoint.__signature__ = inspect.Signature(_parameters(operation))  # type: ignore[attr-defined]
    endpoint.__name__ = operation.name.replace(".", "_").replace("-", "_")
    return endpoint


def _parameters(operation: Operation) -> list[inspect.Parameter]:
    fields = operation.input.model_fields
    parameters = [_parameter("request", Request)]
    for name in operation.path_fields:
        kind = Annotated[fields[name].annotation, *fields[name].metadata, Path()]
        parameters.append(_parameter(name, kind))
    for name in operation.header_fields:
        header = Header(alias=HEADERS[name], description=fields[name].description)
        kind = Annotated[fields[name].annotation, header]
        parameters.append(_parameter(name, kind, fields[name].get_default()))
    if operation.is_keyed:
        header = Header(alias=HEADERS[KEY_FIELD], description=KEY_HELP)
        parameters.append(_parameter(KEY_FIELD, Annotated[OnceKey | None, header], None))
    if operation.other_fields:
        model = _partial(operation)
        place = Body() if operation.has_body else Query()
        name = "the_body" if operation.has_body else "the_query"
        parameters.append(_parameter(name, Annotated[model, place]))
    return parameters


def _parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)


def _partial(operation: Operation) -> type:
    """The input without what path and headers carry."""
    if len(operation.other_fields) == len(operation.input.model_fields):
        return operation.input
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in operation.input.model_fields.items()
        if name in operation.other_fields
    }
    return create_model(
        operation.input.__name__,
        __config__=ConfigDict(extra="forbid", frozen=True),
        __doc__=operation.input.__doc__,
        **fields,
    )
