"""The OpenAPI document of a service, typed by its model's signature."""

from typing import Any

from runtime.signature import is_matrix

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
    "Exactly one of `inputs` and `rows`, at most {rows} rows and {bytes} bytes. Every value is "
    "what its column takes; numbers are such as the model's input type can hold, so no NaN and no "
    "infinity. A row for which the model gives no finite number is refused (422)."
)
KINDS: dict[str, dict[str, Any]] = {
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "category": {"type": "string"},
    "text": {"type": "string"},
    "date": {"type": "string", "description": "Date or time of ISO 8601."},
}


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
    columns = signature["columns"]
    if not columns or is_matrix(signature):
        taken = signature["inputs"][0]
        row: dict[str, Any] = _number(taken["dtype"])
        for size in reversed(taken["shape"]):
            row = {"type": "array", "items": row, "minItems": size, "maxItems": size}
    else:
        row = {
            "type": "array",
            "prefixItems": [_value(column) for column in columns],
            "minItems": len(columns),
            "maxItems": len(columns),
        }
    alternatives = [_one_of("inputs", row, most_rows, "Rows in the order of the columns.")]
    if columns:
        named = {
            "type": "object",
            "required": [each["name"] for each in columns if not each.get("nullable")],
            "properties": {column["name"]: _value(column) for column in columns},
            "additionalProperties": False,
        }
        alternatives.append(_one_of("rows", named, most_rows, "Rows by column name."))
    return alternatives[0] if len(alternatives) == 1 else {"type": "object", "oneOf": alternatives}


def _value(column: dict[str, Any]) -> dict[str, Any]:
    """Schema of a value of the column."""
    schema: dict[str, Any] = dict(KINDS[column["kind"]])
    if column.get("categories"):
        schema["enum"] = column["categories"]
    for side, word in (("low", "minimum"), ("high", "maximum")):
        if column.get(side) is not None:
            schema[word] = column[side]
    return {"anyOf": [schema, {"type": "null"}]} if column.get("nullable") else schema


def _one_of(name: str, row: dict[str, Any], most: int, description: str) -> dict[str, Any]:
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": most}
    return {
        "type": "object",
        "required": [name],
        "properties": {name: {**rows, "description": description}},
        "additionalProperties": False,
    }


def _number(dtype: str) -> dict[str, Any]:
    return {"type": "integer" if dtype.startswith(("int", "uint")) else "number"}


def _answer(signature: dict[str, Any]) -> dict[str, Any]:
    classes = signature["classes"]
    prediction: dict[str, Any] = {"enum": classes} if classes else {"type": "number"}
    if signature.get("actions") == "values":
        prediction = {"type": "array", "items": {"type": "number"}}
    properties: dict[str, Any] = {
        "predictions": {"type": "array", "items": prediction},
        "outputs": {"type": "array", "description": "Raw outputs, finite numbers, by row."},
        "model_version": {"type": "integer"},
        "dataset_version": {"type": "string"},
        "request_id": {"type": "string"},
    }
    if classes:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        properties["classes"] = {"const": classes}
        properties["probabilities"] = {
            "type": "array",
            "items": {"type": "array", "items": share},
            "description": "Probability of each class, by row.",
        }
    return {"type": "object", "required": list(properties), "properties": properties}


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": _json(schema)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
