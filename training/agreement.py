"""Whether an exported model answers as the library does that it comes from."""

import numpy as np

from training.runtimes.target import Unsuited

ON_AVERAGE = 1e-3
"""Largest mean difference, relative to the scale of the outputs. ONNX trees compare in float32,
so single rows that lie on a threshold differ by more."""
EVERYWHERE = 1e-4
"""Largest difference of any output, where nothing lies on a threshold."""


def require_agreement(
    library: str, expected: np.ndarray, got: np.ndarray, *, everywhere: bool = False
) -> None:
    """Return when ONNX Runtime gives for the same rows what the library gives: on average, or for
    every output. Raises Unsuited."""
    if expected.size != got.size:
        raise Unsuited(
            f"ONNX Runtime gives outputs of shape {list(got.shape)}, and {library} of shape "
            f"{list(expected.shape)}, expected the same"
        )
    expected = expected.reshape(got.shape)
    scale = max(1.0, float(np.abs(expected).max()))
    differences = np.abs(got - expected) / scale
    difference = float(differences.max() if everywhere else differences.mean())
    most = EVERYWHERE if everywhere else ON_AVERAGE
    # Written so that NaN is a difference.
    if not difference <= most:
        where = "at most" if everywhere else "on average"
        raise Unsuited(
            f"ONNX Runtime and {library} differ by {difference:.2e} of the outputs' scale {where}, "
            f"expected at most {most:.0e}"
        )
