"""How a policy fits an environment: what is observed as rows, and outputs as actions.

Shapes: B rows, A numbers of an action.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from engine.artefact import Signature
from engine.protocol import Refused

if TYPE_CHECKING:
    from simulations.environments import Environment
    from simulations.subject import Subject


class PolicyFit:
    """The policy's side of an environment's spaces."""

    def __init__(self, name: str, environment: "Environment", signature: Signature) -> None:
        """Raises Refused where what is observed, or the actions, do not fit the policy."""
        self._name, self._signature = name, signature
        self._seen, self._acts = environment.observation_space, environment.action_space
        self._require_observations()
        self._require_actions()

    def row(self, observed: Any) -> np.ndarray:
        """What was observed, in the shape and type that the policy takes.

        Raises ValueError, whose text says what was got and expected, for another shape than the
        observation space has, and for numbers that are not finite.
        """
        try:
            if not isinstance(self._seen, spaces.Box):
                observed = spaces.flatten(self._seen, observed)
            got = np.asarray(observed).astype(self._signature.inputs[0].dtype)
        except Exception as error:
            raise ValueError(
                f"was observed as {observed!r:.60}, expected a part of {self._seen}"
            ) from error
        if isinstance(self._seen, spaces.Box) and got.shape != self._seen.shape:
            raise ValueError(
                f"was observed in the shape {got.shape}, expected {self._seen.shape} as its "
                "observation_space says"
            )
        row = got.reshape(self._signature.inputs[0].shape)
        if not np.isfinite(row).all():
            raise ValueError(
                f"was observed as {row[~np.isfinite(row)][0]:g}, expected finite numbers"
            )
        return row

    def actions(
        self,
        subject: "Subject",
        rows: np.ndarray,
        noise: float,
        generators: Sequence[np.random.Generator],
    ) -> list[Any]:
        """An action for each of the rows [B, ...].

        Noise is a standard deviation in the units of the action, or the share of discrete
        actions that are drawn at random. Raises Refused where an output is not finite.
        """
        if isinstance(self._acts, spaces.Discrete):
            return self._discrete(subject.choices(rows), noise, generators)
        assert isinstance(self._acts, spaces.Box)
        values = np.asarray(subject.outputs(rows), np.float64)
        if not np.isfinite(values).all():
            raise Refused(
                f"the policy gave {values[~np.isfinite(values)][0]:g} as an action of "
                f"{self._name!r}, expected finite numbers: train it again with a smaller learning "
                "rate, or normalise what it observes"
            )
        values = values.reshape(len(rows), *self._acts.shape)
        if noise:
            values = values + noise * np.stack(
                [generator.standard_normal(self._acts.shape) for generator in generators]
            )
        return list(np.clip(values, self._acts.low, self._acts.high).astype(self._acts.dtype))

    def _discrete(
        self, chosen: np.ndarray, noise: float, generators: Sequence[np.random.Generator]
    ) -> list[int]:
        assert isinstance(self._acts, spaces.Discrete)
        start, count = int(self._acts.start), int(self._acts.n)
        if noise:
            chosen = np.array(
                [
                    generator.integers(count) if generator.random() < noise else choice
                    for choice, generator in zip(chosen, generators, strict=True)
                ]
            )
        return [start + int(choice) for choice in chosen]

    def _require_observations(self) -> None:
        takes = tuple(self._signature.inputs[0].shape)
        if isinstance(self._seen, spaces.Box):
            gives, fits = self._seen.shape, (self._seen.shape, (int(np.prod(self._seen.shape)),))
        else:
            try:
                flat = spaces.flatdim(self._seen)
            except (NotImplementedError, ValueError) as error:
                raise Refused(
                    f"{self._name!r} is observed as {self._seen}, expected a space that can be "
                    "made a row of numbers: wrap it in a function of your own"
                ) from error
            gives, fits = (flat,), ((flat,),)
        if takes not in fits:
            raise Refused(
                f"{self._name!r} is observed in the shape {gives} ({self._seen}), and the policy "
                f"takes {takes}, expected the same shape: name the environment that the policy "
                "learned in, with the same `arguments` and wrappers"
            )

    def _require_actions(self) -> None:
        kind, outputs = self._signature.actions, self._signature.output.shape[0]
        if isinstance(self._acts, spaces.Discrete):
            needed, fits = f"{self._acts.n} scores", kind == "scores" and outputs == self._acts.n
        elif isinstance(self._acts, spaces.Box):
            size = int(np.prod(self._acts.shape))
            needed, fits = f"{size} values", kind == "values" and outputs == size
        else:
            raise Refused(
                f"{self._name!r} is acted on by {self._acts}, expected a Discrete or a Box of "
                "actions: change the actions by a wrapper in a function of your own"
            )
        if not fits:
            raise Refused(
                f"{self._name!r} is acted on by {self._acts}, and the policy gives {outputs} "
                f"{kind}, expected {needed}: name the environment that the policy learned in, and "
                'let a trainer of continuous actions leave model.json with {"actions": "values"} '
                "beside the model"
            )
