"""Programs that `torch.export` has written, by PyTorch."""

from pathlib import Path

import numpy as np

from ..runtime import Function, Loaded, Runtime
from ..signature import Signature, answer_of
from ..tensors import Tensors


class PyTorch(Runtime):
    """Runs on a GPU where PyTorch finds one."""

    model = "model.pt2"
    requirements = ("torch",)

    def load(self, place: Path, signature: Signature) -> Loaded:
        """The program in the file."""
        import torch
        from torch.export.passes import move_to_device_pass

        device = "cuda" if torch.cuda.is_available() else "cpu"
        program = move_to_device_pass(torch.export.load(place), device).module()
        inputs = [each["name"] for each in signature["inputs"]]
        position = signature["outputs"].index(answer_of(signature))

        def answers(tensors: Tensors) -> np.ndarray:
            given = (torch.from_numpy(tensors[name]).to(device) for name in inputs)
            with torch.inference_mode():
                outputs = program(*given)
            answer = outputs if isinstance(outputs, torch.Tensor) else outputs[position]
            return answer.cpu().numpy()

        return Function(answers)


RUNTIME = PyTorch()
