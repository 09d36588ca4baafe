"""The JSON of an artefact's signature, as it is written today."""

from typing import Any

Signature = dict[str, Any]
"""JSON of `engine.artefact.Signature`."""
_EARLIER = ("input", "output", "features")


def current(signature: Signature) -> Signature:
    """The signature in today's form; artefacts keep for ever the form they were written in.

    The earlier form had one input, one output and the names of numeric features.
    """
    if "input" not in signature:
        return signature
    names = signature.get("features", [])
    return {
        **{name: part for name, part in signature.items() if name not in _EARLIER},
        "inputs": [{**signature["input"], "columns": names}],
        "outputs": [signature["output"]],
        "columns": [{"name": name, "kind": "number"} for name in names],
    }


def answer_of(signature: Signature) -> Signature:
    """The output that answers: a score for each class or action, or the value."""
    outputs = signature["outputs"]
    wanted = signature.get("answer") or outputs[0]["name"]
    return next(output for output in outputs if output["name"] == wanted)


def is_matrix(signature: Signature) -> bool:
    """Whether rows are nothing but numbers without nulls that fill one input."""
    inputs = signature["inputs"]
    return len(inputs) == 1 and all(
        column["kind"] in ("number", "integer") and not column.get("nullable")
        for column in signature["columns"]
    )
