"""The attack stays within its ball, hurts as much as it should, and repeats by seed."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from simulations.attack import measure
from simulations.kinds.linf_attack import LinfAttack
from simulations.subject import Subject
from training.contract import DatasetFiles
from training.export import export

EPSILONS = [0.02, 0.05, 0.1, 0.2]
STEPS, RESTARTS, ROWS = 10, 2, 200


class Recorder(Subject):
    """A model that keeps the rows it was asked about."""

    def __init__(self, artefact):
        super().__init__(*artefact)
        self.seen = []

    def choices(self, rows):
        self.seen.append(rows.copy())
        return super().choices(rows)


@pytest.fixture(scope="session")
def network(digits):
    """A small network that learned the digits."""
    torch.set_num_threads(1)  # The workers share two cores.
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    rows, labels = torch.from_numpy(digits[0]), torch.from_numpy(digits[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        functional.cross_entropy(network(rows), labels).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="session")
def artefact(network, tmp_path_factory):
    """The network as the platform exports it."""
    folder = tmp_path_factory.mktemp("network")
    program = torch.export.export(
        network, (torch.zeros(2, 64),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    torch.export.save(program, folder / "model.pt2")
    files = DatasetFiles(
        name="scans",
        version="1",
        train=[],
        test=[],
        features=[f"pixel_{i}" for i in range(64)],
        label="target",
        classes=[str(digit) for digit in range(10)],
    )
    return folder / "artefact", export(folder, folder / "artefact", files)


@pytest.fixture(scope="session")
def attacked(artefact, digits):
    """The recorder of an attack and what it measured."""
    recorder = Recorder(artefact)
    (outcomes,) = measure(suite(), recorder, digits[2], digits[3])
    return recorder, outcomes


def suite(**changes):
    declared = {"low": 0, "high": 16, "epsilons": EPSILONS, "gated_up_to": 0.1, "rows": ROWS}
    return LinfAttack(
        kind="linf_attack", **declared | {"steps": STEPS, "restarts": RESTARTS} | changes
    )


def independent_accuracy(network, rows, labels, radius):
    """Robust accuracy under projected gradient descent, written from the paper's equations."""
    clean, truth = torch.from_numpy(rows), torch.from_numpy(labels)
    robust = network(clean).argmax(1) == truth
    generator = torch.Generator().manual_seed(1)
    for _ in range(RESTARTS):
        start = clean + radius * (2 * torch.rand(clean.shape, generator=generator) - 1)
        moved = start.clamp(0, 16)
        for _ in range(STEPS):
            moved.requires_grad_()
            (gradient,) = torch.autograd.grad(
                functional.cross_entropy(network(moved), truth), moved
            )
            moved = moved.detach() + 2.5 * radius / STEPS * gradient.sign()
            moved = torch.minimum(torch.maximum(moved, clean - radius), clean + radius).clamp(0, 16)
        robust &= network(moved).argmax(1) == truth
    return robust.double().mean().item()


def test_robust_accuracy_does_not_rise_with_epsilon(attacked):
    accuracy = attacked[1].values.mean(axis=(1, 2))

    assert accuracy.tolist() == sorted(accuracy, reverse=True)
    assert accuracy[-1] < accuracy[0] - 0.3


def test_robust_accuracy_without_a_ball_is_the_clean_accuracy(attacked, network, digits):
    expected = network(torch.from_numpy(digits[2][:ROWS])).argmax(1).numpy() == digits[3][:ROWS]

    assert np.array_equal(attacked[1].values[0, 0], expected)


@pytest.mark.parametrize("index", range(1 + len(EPSILONS)))
def test_perturbations_stay_within_the_ball_and_the_legal_range(index, attacked, digits):
    radius = [0.0, *EPSILONS][index] * 16
    seen = attacked[0].seen[index]

    assert seen.min() >= 0
    assert seen.max() <= 16
    assert np.abs(seen - digits[2][:ROWS]).max() <= radius * (1 + 1e-5)
    assert np.abs(seen - digits[2][:ROWS]).max() >= radius * 0.99


@pytest.mark.parametrize(("index", "epsilon"), [(2, 0.05), (3, 0.1)])
def test_attack_is_as_strong_as_an_independent_one(index, epsilon, attacked, network, digits):
    expected = independent_accuracy(network, digits[2][:ROWS], digits[3][:ROWS], epsilon * 16)

    assert attacked[1].values[index].mean() == pytest.approx(expected, abs=0.03)


def test_same_seed_gives_the_same_attack(artefact, digits):
    declared = suite(epsilons=[0.1], rows=40)
    recorders = [Recorder(artefact) for _ in range(2)]

    for recorder in recorders:
        measure(declared, recorder, digits[2], digits[3])

    assert recorders[0].seen[1].tobytes() == recorders[1].seen[1].tobytes()


def test_radii_above_the_bound_are_measured_but_not_gated(attacked):
    gated = [scenario.name for scenario in attacked[1].scenarios if scenario.gated]

    assert gated == ["epsilon 0", "epsilon 0.02", "epsilon 0.05", "epsilon 0.1"]
