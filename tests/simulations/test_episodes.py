"""Episodes follow Gymnasium's physics, whatever its parameters, and repeat by seed."""

import gymnasium
import numpy as np
import pytest

from simulations.kinds.episodes import Episodes, measure
from simulations.subject import Subject

NOMINAL = {"gravity": 9.8, "length": 0.5, "masspole": 0.1, "force_mag": 10.0}
ATTRIBUTES = {
    "gravity": "gravity",
    "pole_length": "length",
    "pole_mass": "masspole",
    "push_force": "force_mag",
}


def suite(vary=None, **changes):
    declared = {"episodes": 16, "horizon": 100, "seeds": [0]} | changes
    return Episodes(kind="episodes", environment="CartPole-v1", vary=vary or {}, **declared)


class Recorder(Subject):
    """A policy that keeps what it saw and chose."""

    def __init__(self, artefact):
        super().__init__(*artefact)
        self.seen, self.chosen = [], []

    def choices(self, rows):
        actions = super().choices(rows)
        self.seen.append(rows.copy())
        self.chosen.append(actions.copy())
        return actions


def scalar_step(state, action, **attributes):
    """Next state by Gymnasium's scalar CartPole-v1 with the attributes changed, and its end."""
    environment = gymnasium.make("CartPole-v1").unwrapped
    environment.reset(seed=0)
    vars(environment).update(NOMINAL | attributes)
    environment.total_mass = environment.masspole + environment.masscart
    environment.polemass_length = environment.masspole * environment.length
    environment.state = tuple(np.float64(state))
    observed, _, terminated, _, _ = environment.step(int(action))
    return observed, terminated


def assert_follows(recorder, lasted, first, attributes):
    """Every living step of four episodes from `first` is that of the scalar environment."""
    for episode in range(first, first + 4):
        steps = int(lasted[episode])
        for t in range(min(steps, len(recorder.seen) - 1)):
            expected, terminated = scalar_step(
                recorder.seen[t][episode], recorder.chosen[t][episode], **attributes
            )
            assert recorder.seen[t + 1][episode] == pytest.approx(expected, abs=1e-5)
            assert terminated == (t + 1 == steps < 100)


def episodes(outcomes, scenario):
    """Values of the metric in the scenario."""
    index = [s.name for s in outcomes.scenarios].index(scenario)
    return outcomes.values[index].ravel()


def test_nominal_physics_are_those_of_gymnasium(policy_artefact):
    recorder = Recorder(policy_artefact)

    _, lasted = measure(suite(), recorder)

    assert_follows(recorder, lasted.values.ravel(), 0, {})


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_varied_parameter_gives_the_physics_gymnasium_has_with_it(name, policy_artefact):
    recorder = Recorder(policy_artefact)

    _, lasted = measure(suite({name: [1.5]}, episodes=4, horizon=40), recorder)

    changed = {ATTRIBUTES[name]: 1.5 * NOMINAL[ATTRIBUTES[name]]}
    assert_follows(recorder, lasted.values.ravel(), 4, changed)
    assert not np.allclose(recorder.seen[3][:4], recorder.seen[3][4:8])


def test_scenarios_start_from_the_same_states(policy_artefact):
    recorder = Recorder(policy_artefact)

    measure(suite({"gravity": [2.0]}, episodes=8), recorder)

    assert np.array_equal(recorder.seen[0][:8], recorder.seen[0][8:])
    assert np.abs(recorder.seen[0]).max() <= 0.05


def test_sensor_noise_has_the_declared_standard_deviation(policy_artefact):
    recorder = Recorder(policy_artefact)

    measure(suite({"sensor_noise": [0.1]}, episodes=2000, horizon=1), recorder)

    drawn = recorder.seen[0][2000:] - recorder.seen[0][:2000]
    assert drawn.std() == pytest.approx(0.1, rel=0.05)


def test_good_policy_survives(policy):
    survival, lasted = measure(suite(horizon=500, episodes=64), policy)

    assert survival.values.mean() == 1
    assert lasted.values.min() == 500


def test_constant_policy_never_survives(constant_policy):
    survival, lasted = measure(suite(horizon=500, episodes=64), constant_policy)

    assert survival.values.max() == 0
    assert lasted.values.max() < 15


def test_constant_policy_lasts_as_long_as_in_gymnasium(constant_policy):
    _, lasted = measure(suite(episodes=100), constant_policy)

    environment = gymnasium.make("CartPole-v1")
    returns = []
    for seed in range(100):
        environment.reset(seed=seed)
        steps, ended = 0, False
        while not ended:
            _, _, ended, _, _ = environment.step(0)
            steps += 1
        returns.append(steps)
    assert lasted.values.mean() == pytest.approx(np.mean(returns), abs=0.3)


def test_same_seeds_give_the_same_episodes(policy):
    declared = suite({"sensor_noise": [0.1], "gravity": [2.0]}, seeds=[3, 4])

    one, other = (measure(declared, policy)[1].values for _ in range(2))

    assert one.tobytes() == other.tobytes()


def test_other_seeds_give_other_episodes(policy_artefact):
    recorders = [Recorder(policy_artefact) for _ in range(2)]

    for seed, recorder in enumerate(recorders):
        measure(suite(seeds=[seed], horizon=2), recorder)

    assert not np.array_equal(recorders[0].seen[0], recorders[1].seen[0])


def test_harder_physics_make_a_good_policy_fall(policy):
    survival, _ = measure(suite({"sensor_noise": [0.5]}, horizon=500), policy)

    assert episodes(survival, "sensor_noise 0.5").mean() < episodes(survival, "nominal").mean()


def test_only_what_lies_within_the_bounds_is_gated(policy):
    declared = suite(
        {"gravity": [0.5, 1.0, 1.5, 2.0], "sensor_noise": [0.0, 0.01, 0.1], "pole_mass": [1.2]},
        pairs=[("gravity", "pole_mass")],
        gated_within=0.5,
        gated_noise_up_to=0.01,
        horizon=2,
    )

    survival, _ = measure(declared, policy)

    gated = {scenario.name for scenario in survival.scenarios if scenario.gated}
    assert gated == {"nominal", "gravity 0.5", "gravity 1.5", "pole_mass 1.2", "sensor_noise 0.01"}
    assert {s.name for s in survival.scenarios} - gated == {
        "gravity 2",
        "sensor_noise 0.1",
        *(f"gravity {g:g} pole_mass 1.2" for g in (0.5, 1.0, 1.5, 2.0)),
    }
