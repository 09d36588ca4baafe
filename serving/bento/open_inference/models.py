"""The served model as the protocol sees it: names, metadata, inference."""

from collections.abc import Callable
from typing import Any, NamedTuple

from answers import Answers
from runtime.bad_request import BadRequest

from .inputs import TensorReader
from .outputs import Outputs, OutputSpec
from .tensor import Tensor, datatype_of

SERVER = "orrery"
PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ("binary_tensor_data",)
LONGEST_ID = 256
"""Characters of a request's identity."""


class Inference(NamedTuple):
    """A request."""

    model: str
    version: str
    """Empty where any will do."""
    id: str
    tensors: Callable[[], list[Tensor]]
    """Reads the tensors. Raises BadRequest."""
    outputs: list[str]
    """Names of the outputs that are asked for; all without one."""


class Inferred(NamedTuple):
    """What is answered."""

    id: str
    tensors: list[Tensor]


class ServedModel:
    """The one model of this server, whose name is that of its service."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        identity, signature = answers.identity, answers.model.signature
        self.name: str = identity["service"]
        self.version = str(identity["model_version"])
        self.server_version: str = identity["version"]
        self.parameters = {
            "model_version": identity["model_version"],
            "dataset_version": identity["dataset_version"],
        }
        self.inputs = [
            OutputSpec(each["name"], datatype_of(each["dtype"]), list(each["shape"]))
            for each in signature["inputs"]
        ]
        self.outputs = Outputs(answers.model)
        self._reader = TensorReader(signature, answers.reader)

    def require(self, name: str, version: str = "") -> None:
        """Return when this is the model of that name and version. Raises BadRequest."""
        if name != self.name:
            text = f"got the model {name!r:.200}, expected {self.name!r}, which is served here"
            raise BadRequest(text, 404)
        if version and version != self.version:
            text = f"got version {version!r:.80} of {self.name}, expected {self.version!r}"
            raise BadRequest(f"{text}, which is served here", 404)

    def metadata(self) -> dict[str, Any]:
        """Names and types of the model, its inputs and its outputs."""
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": PLATFORM,
            "inputs": [_described(each) for each in self.inputs],
            "outputs": [_described(each) for each in self.outputs.specs],
        }

    async def infer(self, inference: Inference) -> Inferred:
        """The answer to the request, which is logged. Raises BadRequest or ModelFailed."""
        self.require(inference.model, inference.version)
        if len(inference.id) > LONGEST_ID:
            text = f"id: got {len(inference.id)} characters, expected at most {LONGEST_ID}"
            raise BadRequest(text)
        wanted = self.outputs.chosen(inference.outputs)
        answer = await self.answers.answer(
            lambda: self._reader.read(inference.tensors()), inference.id
        )
        tensors = [self.outputs.tensor(spec, answer.outputs) for spec in wanted]
        self.answers.log(answer)
        return Inferred(answer.request_id, tensors)


def _described(spec: OutputSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": [-1, *spec.shape]}
