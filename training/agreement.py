"""Whether an exported model answers as the library does that it comes from."""

import numpy as np

from training.runtimes.target import Unsuited

TOLERANCE = 1e-3
"""Largest mean difference, relative to the scale of the outputs. ONNX trees compare in float32,
so single rows that lie on a threshold differ by more."""


def require_agreement(library: str, expected: np.ndarray, got: np.ndarray) -> None:
    """Return when ONNX Runtime gives for the same rows what the library gives. Raises Unsuited."""
    if expected.size != got.size:
        raise Unsuited(
            f"ONNX Runtime gives outputs of shape {list(got.shape)}, and {library} of shape "
            f"{list(expected.shape)}, expected the same"
        )
    expected = expected.reshape(got.shape)
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(got - expected).mean()) / scale
    if not difference <= TOLERANCE:
        raise Unsuited(
            f"ONNX Runtime and {library} differ by {difference:.2e} on average, expected at most "
            f"{TOLERANCE:.0e} of the outputs' scale"
        )
