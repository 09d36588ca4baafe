"""The OpenAPI document of a service, typed by its model's signature."""

from typing import Any

from completions import openapi as completions
from runtime.signature import is_matrix

SAID: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "What was got and expected."}},
}
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


def openapi(
    signature: dict[str, Any], identity: dict[str, Any], metadata: dict[str, Any]
) -> dict[str, Any]:
    """OpenAPI 3.1 document; the metadata are the model's in the Open Inference Protocol."""
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
        "paths": {
            "/predict": {"post": predict},
            "/example": {"get": example},
            **_open_inference(metadata),
            **(completions.paths() if signature["task"] == "text-generation" else {}),
        },
    }


def _open_inference(metadata: dict[str, Any]) -> dict[str, Any]:
    """Paths of the Open Inference Protocol."""
    (version,) = metadata["versions"]
    model = f"/v2/models/{metadata['name']}"
    pages = {
        "/v2": "Name, version and extensions of the server.",
        "/v2/health/live": "Whether the server lives.",
        "/v2/health/ready": "Whether the server can be asked.",
    }
    paths: dict[str, Any] = {path: _page(summary) for path, summary in pages.items()}
    for root in (model, f"{model}/versions/{version}"):
        paths[root] = _page("Names and types of the model's inputs and outputs.")
        paths[f"{root}/ready"] = _page("Whether the model can be asked.")
        paths[f"{root}/infer"] = {"post": _infer(metadata)}
    return paths


def _page(summary: str) -> dict[str, Any]:
    answered = {"200": _response(summary, {"type": "object"})}
    return {"get": {"summary": summary, "responses": answered}}


def _infer(metadata: dict[str, Any]) -> dict[str, Any]:
    refused = {
        "400": "The request is not JSON, or does not fit the model.",
        "404": "Another name or version.",
        "413": "Too many rows, or too large a body.",
        "415": "The body is coded.",
        "422": "The model gave a value that is not finite.",
    }
    asked: dict[str, Any] = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": _tensors(metadata["inputs"], "The model's inputs, or one for each column."),
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        },
    }
    answer: dict[str, Any] = {
        "type": "object",
        "required": ["model_name", "model_version", "id", "outputs"],
        "properties": {
            "model_name": {"const": metadata["name"]},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "outputs": _tensors(metadata["outputs"], "The outputs that were asked for."),
        },
    }
    return {
        "summary": "Predict tensors, by the Open Inference Protocol.",
        "requestBody": {"required": True, "content": _json(asked)},
        "responses": {
            "200": _response("Outputs.", answer),
            **{status: _response(text, SAID) for status, text in refused.items()},
        },
    }


def _tensors(described: list[dict[str, Any]], description: str) -> dict[str, Any]:
    known = ", ".join(f"{t['name']} {t['datatype']} {t['shape']}" for t in described)
    tensor = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array", "description": "Values, flat or nested."},
            "parameters": {"type": "object"},
        },
    }
    return {"type": "array", "items": tensor, "description": f"{description} {known}"}


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
    kind = "string" if signature["task"] == "text-generation" else "number"
    prediction: dict[str, Any] = {"enum": classes} if classes else {"type": kind}
    if signature.get("actions") == "values":
        prediction = {"type": "array", "items": {"type": "number"}}
    properties: dict[str, Any] = {
        "predictions": {"type": "array", "items": prediction},
        "outputs": {"type": "array", "description": "Raw outputs by row, finite or texts."},
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
