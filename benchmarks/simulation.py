"""Simulation steps per second against a bare vectorised loop over the same environments."""

import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from benchmarks.measure import in_turns, show
from simulations.cartpole import play
from simulations.kinds.episodes import Episodes, scenarios_of
from simulations.subject import Subject
from training.export import export
from training.policies import Policy

REPEATS = 5
HORIZON = 500
SUITE = Episodes(
    kind="episodes",
    environment="CartPole-v1",
    vary={"gravity": [0.5, 0.75, 1.0, 1.5, 2.0], "pole_length": [0.5, 0.75, 1.0, 1.5, 2.0]},
    episodes=128,
    seeds=[0, 1, 2],
    horizon=HORIZON,
)


class AlwaysStanding(torch.nn.Module):
    """A policy that holds the pole, so that both loops make the same number of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = Policy(4, 2)
        self.gain: torch.Tensor
        self.register_buffer("gain", torch.tensor([[0.1, 0.5, 10.0, 1.5]]))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Logits whose sign is a linear controller's, at the cost of a real network."""
        push = (observation * self.gain).sum(1, keepdim=True)
        return torch.cat([-push, push], 1) + 0 * self.policy(observation)


def main() -> None:
    """Print environment steps per second."""
    with tempfile.TemporaryDirectory() as folder:
        artefact, digest = _artefact(Path(folder))
        scenarios = scenarios_of(SUITE)
        count = len(scenarios) * len(SUITE.seeds) * SUITE.episodes

        def platform() -> float:
            subject = Subject(artefact, digest)
            began = time.perf_counter()
            lasted = play(SUITE, scenarios, subject)
            return float(lasted.max()) * count / (time.perf_counter() - began)

        def bare() -> float:
            return _bare(artefact, count)

        values = in_turns({"bare loop": bare, "platform": platform}, REPEATS)
    show("Simulation", "steps/s", values, "bare loop", ">= 0.9")


def _artefact(folder: Path) -> tuple[Path, str]:
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(
        AlwaysStanding().eval(), (torch.zeros(2, 4),), dynamic_shapes=shapes
    )
    torch.export.save(program, checkpoint / "model.pt2")
    return folder / "artefact", export(checkpoint, folder / "artefact", None)


def _bare(artefact: Path, count: int) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(artefact / "model.onnx", options)
    name = session.get_inputs()[0].name
    environment = CartPoleVectorEnv(count, max_episode_steps=HORIZON + 1)
    began = time.perf_counter()
    observed, _ = environment.reset(seed=0)
    for _ in range(HORIZON):
        logits = np.asarray(session.run(None, {name: observed})[0])
        observed, *_ = environment.step(logits.argmax(axis=1))
    return HORIZON * count / (time.perf_counter() - began)
