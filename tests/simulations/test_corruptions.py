"""Corruptions are graded, legal, repeatable, and cost accuracy."""

import itertools

import numpy as np
import pytest

from simulations.kinds.corruptions import Corruptions, ImageShape, corrupt, measure

SHAPE = ImageShape(height=8, width=8, low=0, high=16)
NAMES = ("noise", "blur", "shift", "occlusion", "contrast")
SEVERITIES = [0.1, 0.4, 0.7, 1.0]


@pytest.fixture(scope="module")
def images(digits):
    return digits[2].reshape(-1, 8, 8)


@pytest.fixture(scope="module")
def outcomes(reader, digits):
    suite = Corruptions(
        kind="corruptions",
        image=SHAPE,
        corruptions={name: SEVERITIES for name in NAMES},
        gated_up_to=0.4,
        seeds=[0, 1, 2],
    )
    (result,) = measure(suite, reader, lambda: [(digits[2], digits[3])])
    return result


def test_images_in_batches_are_seen_as_they_are_at_once(outcomes, reader, digits):
    suite = Corruptions(
        kind="corruptions", image=SHAPE, corruptions={"noise": SEVERITIES}, seeds=[0, 1, 2]
    )
    parts = [slice(start, start + 100) for start in range(0, len(digits[3]), 100)]

    (noisy,) = measure(suite, reader, lambda: [(digits[2][p], digits[3][p]) for p in parts])

    for scenario in noisy.scenarios:
        place = outcomes.scenarios.index(
            next(s for s in outcomes.scenarios if s.name == scenario.name)
        )
        assert np.array_equal(noisy.values[noisy.scenarios.index(scenario)], outcomes.values[place])


@pytest.mark.parametrize("name", ["noise", "blur", "shift", "contrast"])
def test_hardly_any_severity_hardly_changes_an_image(name, images):
    corrupted = corrupt(images, name, 0.002, SHAPE, seed=0)

    assert np.abs(corrupted - images).max() < 0.2


def test_least_occlusion_hides_one_pixel(images):
    corrupted = corrupt(images + 1, "occlusion", 0.002, SHAPE, seed=0)

    assert set((corrupted == SHAPE.low).sum(axis=(1, 2))) == {1}


@pytest.mark.parametrize("name", NAMES)
def test_change_grows_with_severity(name, images):
    changes = [
        np.abs(corrupt(images, name, severity, SHAPE, seed=0) - images).mean()
        for severity in SEVERITIES
    ]

    assert changes == sorted(changes)
    assert changes[0] < changes[-1]


@pytest.mark.parametrize("severity", [0.3, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_corrupted_image_stays_in_the_legal_range(name, severity, images):
    corrupted = corrupt(images, name, severity, SHAPE, seed=0)

    assert corrupted.shape == images.shape
    assert corrupted.dtype == np.float32
    assert corrupted.min() >= SHAPE.low
    assert corrupted.max() <= SHAPE.high


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_gives_the_same_bytes(name, images):
    one, other = (corrupt(images, name, 0.5, SHAPE, seed=4) for _ in range(2))

    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", ["noise", "shift", "occlusion"])
def test_other_seed_gives_other_bytes(name, images):
    one, other = (corrupt(images, name, 0.5, SHAPE, seed=seed) for seed in (4, 5))

    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_image_given_is_not_changed(name, images):
    before = images.copy()

    corrupt(images, name, 1.0, SHAPE, seed=0)

    assert np.array_equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_does_not_rise_with_severity(name, outcomes):
    accuracy = [
        outcomes.values[s].mean()
        for s, scenario in enumerate(outcomes.scenarios)
        if scenario.name.split()[0] in ("clean", name)
    ]

    assert len(accuracy) == 1 + len(SEVERITIES)
    # Half a percent is one row in 200: a row that was wrong may become right by chance.
    assert all(after <= before + 0.005 for before, after in itertools.pairwise(accuracy))
    assert accuracy[-1] < accuracy[0] - 0.05


def test_clean_accuracy_is_that_of_the_artefact(outcomes, weights, digits):
    expected = ((digits[2] @ weights).argmax(axis=1) == digits[3]).mean()

    assert outcomes.values[0].mean() == pytest.approx(expected)
    assert expected > 0.9


def test_severities_above_the_bound_are_measured_but_not_gated(outcomes):
    gated = {scenario.name for scenario in outcomes.scenarios if scenario.gated}

    assert gated == {"clean", *(f"{name} {s:g}" for name in NAMES for s in (0.1, 0.4))}
    assert len(outcomes.scenarios) == 1 + len(NAMES) * len(SEVERITIES)
