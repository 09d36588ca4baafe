"""Control policies are learned in any environment with a box of observations, and exported."""

import gymnasium
import numpy as np
import onnxruntime
import pytest
import torch

from engine.artefact import sha256_of
from resources.compute.contract import JobRefused
from training.contract import TrainingResult
from training.policies import ContinuousPolicy, Normaliser

TINY = {"iterations": 1, "environments": 2, "steps_per_iteration": 32, "minibatches": 2}

ACROBOT = {
    "environment": "Acrobot-v1",
    "iterations": 30,
    "environments": 16,
    "steps_per_iteration": 256,
    "learning_rate": 1e-3,
    "gae_lambda": 0.94,
    "passes": 6,
    "entropy_weight": 0.0,
    "normalise_observations": True,
    "reward_scale": 0.1,
    "bootstrap_truncated": True,
}
"""Learns a return of about -86 in 45 s on one core."""
PENDULUM = {
    "environment": "Pendulum-v1",
    "iterations": 30,
    "environments": 16,
    "steps_per_iteration": 200,
    "learning_rate": 1e-3,
    "discount": 0.9,
    "entropy_weight": 0.0,
    "normalise_observations": True,
    "reward_scale": 0.1,
    "bootstrap_truncated": True,
}
"""Learns a return of about -200 in 45 s on one core."""

OWN = """
import gymnasium, numpy as np

class Line(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, 1))

    def __init__(self, length, actions=None):
        self.length = length
        self.action_space = actions or gymnasium.spaces.Box(-1, 3, (2, 2))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.uniform(-1, 1, (2, 1)), 0
        return self.place.astype(np.float32), {}

    def step(self, action):
        assert action.shape == (2, 2) and -1 <= action.min() and action.max() <= 3
        self.place = self.place + action.mean() / 10
        self.steps += 1
        return self.place.astype(np.float32), -1.0, False, self.steps == self.length, {}

def buttons(length):
    return Line(length, gymnasium.spaces.MultiBinary(3))
"""


@pytest.fixture
def learn(compute, spec_of):
    """Result of the trainer with the hyperparameters."""

    def run(body, trainer="training.control:train", **more) -> TrainingResult:
        spec = spec_of(trainer=trainer, dataset=None, **more)
        # The fixture's own hyperparameters are those of another trainer.
        spec = spec.model_copy(update={"hyperparameters": body})
        return compute.run("training.main", spec, TrainingResult, lambda _: None)

    return run


def outputs(result, rows):
    session = onnxruntime.InferenceSession(result.artefact / "model.onnx")
    return session.run(None, {session.get_inputs()[0].name: rows})[0]


@pytest.mark.parametrize("body", [ACROBOT, PENDULUM], ids=["scores", "values"])
def test_a_policy_of_either_kind_of_action_is_exported_and_takes_what_is_observed(learn, body):
    result = learn(body | TINY)

    environment = gymnasium.make(body["environment"])
    observed, _ = environment.reset(seed=0)
    got = outputs(result, np.stack([observed, 1e6 * observed]))
    if body is ACROBOT:
        assert result.signature.actions == "scores"
        assert got.shape == (2, 3)
    else:
        assert result.signature.actions == "values"
        assert got.shape == (2, 1)
        assert environment.action_space.contains(got[0])


def test_an_environment_of_ones_own_is_made_with_its_arguments(learn, flowers):
    (flowers / "own.py").write_text(OWN)
    body = {"environment": "own:Line", "arguments": {"length": 7}, "normalise_observations": True}

    result = learn(body | TINY)

    assert result.metrics["return"] == -7
    assert result.signature.inputs[0].shape == [2]
    assert result.signature.output.shape == [4]


def test_a_killed_training_keeps_what_it_knows_of_observations(learn, flowers, tmp_path):
    (flowers / "own.py").write_text(OWN)
    once = tmp_path / "once"
    (flowers / "dying.py").write_text(
        "import os, pathlib\n"
        "from training import control\n"
        "control.CHECKPOINT_EVERY_S = 0.0\n"
        "collect = control._collect\n"
        "def dies(*given):\n"
        f"    once = pathlib.Path({str(once)!r})\n"
        "    if given[-1] % 1_000_003 == 3 and not once.exists():\n"
        "        once.touch()\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return collect(*given)\n"
        "def train(config):\n"
        "    control._collect = dies\n"
        "    control.train(config)\n"
    )
    body = {"environment": "own:Line", "arguments": {"length": 7}, "normalise_observations": True}
    body |= TINY | {"iterations": 4}

    killed, untouched = (learn(body, trainer="dying:train", job=j) for j in ("killed", "untouched"))

    assert once.exists()
    assert (killed.resumed_from, untouched.resumed_from) == (2, 0)
    same = [sha256_of(r.artefact / "model.onnx") for r in (killed, untouched)]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"environment": "FrozenLake-v1"}, "is observed as Discrete.*expected a Box of numbers"),
        (
            {"environment": "own:buttons", "arguments": {"length": 3}},
            "is acted on by MultiBinary.*expected Discrete actions",
        ),
        ({"environment": "own:Line"}, "'own:Line' cannot be made: got TypeError: .*'length'"),
        ({"environment": "own:Lines"}, "no function 'Lines'.*did you mean 'Line'"),
        ({"environment": "CartPool-v1"}, "no environment 'CartPool-v1'; did you mean 'CartPole-v"),
    ],
)
def test_a_policy_says_which_environments_it_cannot_learn(learn, flowers, body, sentence):
    (flowers / "own.py").write_text(OWN)

    with pytest.raises(JobRefused, match=sentence):
        learn(body | TINY)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("observed = np.where(observed > 0, np.nan, observed)", "was observed as nan at step"),
        ("reward = np.inf", "gave the reward inf at step"),
    ],
)
def test_numbers_that_are_not_finite_are_named(learn, flowers, line, sentence):
    (flowers / "unsound.py").write_text(
        "import gymnasium, numpy as np\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Unsound(CartPoleEnv):\n"
        "    def step(self, action):\n"
        "        observed, reward, *rest = super().step(action)\n"
        f"        {line}\n"
        "        return observed, reward, *rest\n"
        "gymnasium.register('Unsound-v0', entry_point=Unsound)\n"
    )

    with pytest.raises(JobRefused, match=f"unsound:Unsound-v0 {sentence}"):
        learn(TINY | {"environment": "unsound:Unsound-v0"})


def test_observations_seen_in_parts_are_normalised_as_those_seen_at_once():
    rows = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)) * 5 + 3
    parts, whole = Normaliser(2), Normaliser(2)

    for part in rows.split([10, 90, 200]):
        parts.see(part)
    whole.see(rows)

    assert torch.allclose(parts(rows), whole(rows), atol=1e-5)
    assert torch.allclose(whole(rows).std(0), torch.ones(2), atol=0.01)


def test_actions_without_bounds_are_in_their_own_units():
    low, high = np.float32([-np.inf, 0]), np.float32([np.inf, 4])
    policy = ContinuousPolicy(1, gymnasium.spaces.Box(low, high))

    assert policy.for_environment(torch.tensor([[9.0, 0.5]])).tolist() == [[9.0, 3.0]]
    assert policy.for_environment(torch.tensor([[9.0, 7.0]])).tolist() == [[9.0, 4.0]]
