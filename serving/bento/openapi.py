"""The OpenAPI document of a service, typed by its model's signature."""

from typing import Any

ERROR = {
    "type": "object",
    "required": ["error", "kind"],
    "properties": {
        "kind": {"enum": ["malformed", "invalid"]},
        "error": {"type": "string", "description": "What was got and what was expected."},
        "field": {"type": "string", "description": "Place in the request, such as `inputs.3.1`."},
    },
}
RULES = (
    "Exactly one of `inputs` and `rows`, at most {rows} rows and {bytes} bytes. Every "
    "value is a JSON number that the model's input type can hold: no text, null, true, false, NaN "
    "or infinity. A row for which the model gives no finite number is refused (422)."
)


def openapi(signature: dict[str, Any], identity: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.1 document."""
    refused = {
        "400": "The request is not JSON, or does not fit the model.",
        "413": "Too many rows, or too large a body.",
        "422": "The model gave a value that is not finite.",
    }
    responses = {status: _response(text, ERROR) for status, text in refused.items()}
    answered = {"200": _response("Predictions.", _answer(signature))}
    most_rows = identity["limits"]["rows"]
    predict = {
        "summary": "Predict rows.",
        "description": RULES.format(**identity["limits"]),
        "requestBody": {"required": True, "content": _json(_request(signature, most_rows))},
        "responses": {**answered, **responses},
    }
    example = {
        "summary": "Show what the model answers to the example that was registered with it.",
        "responses": answered,
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": identity["service"], "version": identity["version"]},
        "paths": {"/predict": {"post": predict}, "/example": {"get": example}},
    }


def _request(signature: dict[str, Any], most_rows: int) -> dict[str, Any]:
    row: dict[str, Any] = _number(signature)
    for size in reversed(signature["input"]["shape"]):
        row = {"type": "array", "items": row, "minItems": size, "maxItems": size}
    alternatives = [_one_of("inputs", row, most_rows, "Rows in the order of the features.")]
    if features := signature["features"]:
        named = {
            "type": "object",
            "required": features,
            "properties": {name: _number(signature) for name in features},
            "additionalProperties": False,
        }
        alternatives.append(_one_of("rows", named, most_rows, "Rows by feature name."))
    return alternatives[0] if len(alternatives) == 1 else {"type": "object", "oneOf": alternatives}


def _one_of(name: str, row: dict[str, Any], most: int, description: str) -> dict[str, Any]:
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": most}
    return {
        "type": "object",
        "required": [name],
        "properties": {name: {**rows, "description": description}},
        "additionalProperties": False,
    }


def _number(signature: dict[str, Any]) -> dict[str, Any]:
    is_whole = signature["input"]["dtype"].startswith(("int", "uint"))
    return {"type": "integer" if is_whole else "number"}


def _answer(signature: dict[str, Any]) -> dict[str, Any]:
    classes = signature["classes"]
    prediction = {"enum": classes} if classes else {"type": "number"}
    return {
        "type": "object",
        "required": ["predictions", "outputs", "model_version"],
        "properties": {
            "predictions": {"type": "array", "items": prediction},
            "outputs": {"type": "array", "description": "Raw outputs, finite numbers, by row."},
            "model_version": {"type": "integer"},
        },
    }


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": _json(schema)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
