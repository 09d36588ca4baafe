"""Projected gradient descent (Madry et al. 2018, arXiv:1706.06083) by the Adversarial
Robustness Toolbox, on the artefact's differentiable program."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.protocol import Refused
from simulations.kinds.linf_attack import LinfAttack
from simulations.outcomes import Outcomes, Scenario
from simulations.subject import Subject
from simulations.trials import UNRECORDED, Measurer

BATCH = 512
STEP_SHARE = 2.5
"""Step size is STEP_SHARE * epsilon / steps, as Madry et al. use."""


class _Program(nn.Module):
    """An exported program that accepts train() and eval(), which it would refuse."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        # In a list, so that nn.Module does not see it and pass train() on.
        self._program = [torch.export.load(path).module()]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self._program[0](rows)


def trials_in(suite: LinfAttack, rows: int) -> int:
    """Number of trials that `measure` measures: one a batch, radius and seed."""
    batches = -(-min(rows, suite.rows) // BATCH)
    return len(suite.seeds) * (1 + len(suite.epsilons)) * batches


def measure(
    suite: LinfAttack,
    subject: Subject,
    rows: np.ndarray,
    labels: np.ndarray,
    trials: Measurer = UNRECORDED,
) -> list[Outcomes]:
    """Whether every attacked row is still named rightly, per radius.

    A row counts as robust only when no restart found a perturbation within the radius. Rows
    that are wrong unattacked count as not robust. Raises Refused for rows outside the legal range.
    """
    rows, labels = rows[: suite.rows], labels[: suite.rows]
    _require_legal(suite, subject, rows)
    scenarios = [
        Scenario(f"epsilon {epsilon:g}", {"epsilon": epsilon}, epsilon <= suite.gated_up_to)
        for epsilon in [0.0, *suite.epsilons]
    ]
    classifier = _classifier(suite, subject, rows.shape[1:])
    values = np.empty((len(scenarios), len(suite.seeds), len(rows)))
    for k, seed in enumerate(suite.seeds):
        for s, scenario in enumerate(scenarios):
            epsilon = scenario.parameters["epsilon"]
            for first in range(0, len(rows), BATCH):
                batch = slice(first, first + BATCH)

                def measured(
                    batch: slice = batch, epsilon: float = epsilon, seed: int = seed
                ) -> Any:
                    seen = rows[batch]
                    if epsilon:
                        seen = _attacked(classifier, suite, epsilon, seen, labels[batch], seed)
                    return subject.choices(seen) == labels[batch]

                name = f"{scenario.name}, seed {seed}, rows from {first}"
                values[s, k, batch] = trials.measure(name, measured)
    return [
        Outcomes("robust_accuracy", True, scenarios, suite.seeds, values, seeds_repeat_units=True)
    ]


def _require_legal(suite: LinfAttack, subject: Subject, rows: np.ndarray) -> None:
    """Attacked rows are kept within the legal range; clean ones outside it would be compared with
    others that are not what the model will see."""
    columns = rows.reshape(len(rows), -1)
    low, high = columns.min(axis=0), columns.max(axis=0)
    outside = np.flatnonzero((low < suite.low) | (high > suite.high))
    if not len(outside):
        return
    names, first = subject.signature.features, int(outside[0])
    name = names[first] if len(names) == columns.shape[1] else f"feature {first}"
    raise Refused(
        f"column {name!r} of the held-out rows has values from {low[first]:g} to {high[first]:g} "
        f"({len(outside)} columns are outside), and the suite declares low {suite.low:g} and high "
        f"{suite.high:g}; widen the suite's range, or mend the data"
    )


def _classifier(suite: LinfAttack, subject: Subject, shape: tuple[int, ...]) -> Any:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        model=_Program(subject.program),
        loss=nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=len(subject.signature.classes),
        clip_values=(suite.low, suite.high),
        device_type="gpu" if torch.cuda.is_available() else "cpu",
    )


def _attacked(
    classifier: Any,
    suite: LinfAttack,
    epsilon: float,
    rows: np.ndarray,
    labels: np.ndarray,
    seed: int,
) -> np.ndarray:
    from art.attacks.evasion import ProjectedGradientDescent

    radius = epsilon * (suite.high - suite.low)
    # ART draws its random starts from global generators.
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    attack = ProjectedGradientDescent(
        classifier,
        norm=np.inf,
        eps=radius,
        eps_step=STEP_SHARE * radius / suite.steps,
        max_iter=suite.steps,
        num_random_init=suite.restarts,
        batch_size=BATCH,
        verbose=False,
    )
    attacked = attack.generate(x=rows, y=labels)
    # Floating point may leave the ball by an ulp; the claim is about the ball.
    return np.clip(np.clip(attacked, rows - radius, rows + radius), suite.low, suite.high).astype(
        rows.dtype
    )
