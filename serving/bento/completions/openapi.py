"""The paths of completions in the OpenAPI document of a service."""

from typing import Any

from .request import HOTTEST, MOST_STOPS, ROLES

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "What was got and expected."},
                "type": {"enum": ["invalid_request_error", "server_error"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
REFUSED = {
    "400": "The request does not fit the protocol or the model.",
    "404": "Another model.",
    "413": "Too large a body.",
    "500": "The model failed.",
    "503": "Too many texts wait; `Retry-After` says when to ask again.",
}
SHARED: dict[str, Any] = {
    "model": {"type": "string", "description": "Name of the service, or left out."},
    "max_tokens": {"type": "integer", "minimum": 1},
    "temperature": {"type": "number", "minimum": 0, "maximum": HOTTEST, "default": 0},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1, "default": 1},
    "seed": {"type": "integer"},
    "stop": {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}, "maxItems": MOST_STOPS},
        ]
    },
    "n": {"type": "integer", "minimum": 1, "default": 1},
    "stream": {"type": "boolean", "default": False},
    "stream_options": {
        "type": "object",
        "properties": {"include_usage": {"type": "boolean"}},
    },
}
MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": list(ROLES)},
        "content": {"type": ["string", "array"], "description": "A text, or its parts."},
    },
}


def paths() -> dict[str, Any]:
    """Each path below `/v1`."""
    messages = {"type": "array", "items": MESSAGE, "minItems": 1}
    prompt = {"type": ["string", "array"], "description": "A text, or several."}
    more = {"max_completion_tokens": SHARED["max_tokens"]}
    listed = {"description": "The model.", "content": _json({"type": "object"})}
    models = {"get": {"summary": "The model that writes.", "responses": {"200": listed}}}
    return {
        "/v1/chat/completions": _asked("Answer messages.", {"messages": messages, **more}),
        "/v1/completions": _asked("Go on with texts.", {"prompt": prompt}),
        "/v1/models": models,
    }


def _asked(summary: str, own: dict[str, Any]) -> dict[str, Any]:
    request = {
        "type": "object",
        "required": [next(iter(own))],
        "properties": {**own, **SHARED},
    }
    answered = {
        "description": "What was written, whole or as server-sent events that end with `[DONE]`.",
        "content": {**_json({"type": "object"}), "text/event-stream": {}},
    }
    refused = {
        status: {"description": text, "content": _json(ERROR)} for status, text in REFUSED.items()
    }
    body = {"required": True, "content": _json(request)}
    return {
        "post": {
            "summary": summary,
            "requestBody": body,
            "responses": {"200": answered, **refused},
        }
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
