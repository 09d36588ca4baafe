"""What the model answers as named tensors."""

from typing import Any, NamedTuple

import numpy as np
from model import Model
from runtime.bad_request import BadRequest
from runtime.signature import answer_of

from .tensor import BYTES, DATATYPES, Tensor, datatype_of

PREDICTIONS, PROBABILITIES = "predictions", "probabilities"


class OutputSpec(NamedTuple):
    """Name and type of an output."""

    name: str
    datatype: str
    shape: list[int]
    """Without the rows."""


class Outputs:
    """The outputs of a service: the one of the model that answers, and what `/predict` makes of it.

    `predictions` are the classes, actions or values by row, and `probabilities` those of the
    classes; an output of the model that has such a name stands for itself.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        signature, answer = model.signature, answer_of(model.signature)
        self._answer = answer["name"]
        datatype, shape = datatype_of(answer["dtype"]), list(answer["shape"])
        specs = [OutputSpec(self._answer, datatype, shape)]
        if signature["classes"]:
            specs.append(OutputSpec(PREDICTIONS, BYTES, []))
            specs.append(OutputSpec(PROBABILITIES, "FP64", [len(signature["classes"])]))
        elif signature["task"] in ("regression", "text-generation"):
            specs.append(OutputSpec(PREDICTIONS, datatype, []))
        elif signature.get("actions") == "values":
            specs.append(OutputSpec(PREDICTIONS, datatype, shape))
        else:
            specs.append(OutputSpec(PREDICTIONS, "INT64", []))
        # The first of a name stays: the model's own.
        self.specs = list({spec.name: spec for spec in reversed(specs)}.values())[::-1]
        self._specs = {spec.name: spec for spec in self.specs}

    def chosen(self, wanted: list[str]) -> list[OutputSpec]:
        """The outputs of these names, or all without names. Raises BadRequest."""
        for name in wanted:
            if name not in self._specs:
                known = list(self._specs)
                raise BadRequest(f"got the unknown output {name!r:.80}, expected some of {known}")
        return [self._specs[name] for name in wanted] or self.specs

    def tensor(self, spec: OutputSpec, outputs: np.ndarray) -> Tensor:
        """The output of that name, made of the model's answer [rows, ...]."""
        values: Any = outputs
        if spec.name != self._answer:
            probabilities = spec.name == PROBABILITIES
            make = self._model.probabilities if probabilities else self._model.predictions
            values = make(outputs)
        array = np.asarray(values, DATATYPES[spec.datatype])
        return Tensor(spec.name, array.reshape(len(outputs), *spec.shape))
