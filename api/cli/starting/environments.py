"""A project from a Gymnasium environment: a policy that is trained or there already, and episodes
that prove it."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.starting.draft import CannotStart, Draft, Request, address, scalar
from api.cli.starting.trial import Trial

if TYPE_CHECKING:
    import gymnasium

TRAINER = "training.control:train"
POLICY = ".onnx"
"""End of the name of a policy's file."""
EPISODES, MOST_STEPS = 8, 2_000


def recognises(source: str) -> bool:
    """Whether Gymnasium knows an environment of this id."""
    if "/" in source and not source.startswith("ALE/"):
        return False
    try:
        import gymnasium
    except ImportError:
        return False
    return source in gymnasium.registry


@dataclass(frozen=True)
class World:
    """What is to be known of an environment."""

    id: str
    observations: str
    actions: str
    is_continuous: bool
    random_return: float
    """Mean return of random actions."""

    @property
    def seen(self) -> list[str]:
        """A sentence on each."""
        return [
            f"observed as {self.observations}",
            f"acted on by {self.actions}",
            f"random actions reach a return of {self.random_return:.4g}",
        ]

    @property
    def suite(self) -> dict[str, Any]:
        """Episodes that prove a policy."""
        return {
            "kind": "episodes",
            "environment": self.id,
            "vary": {"sensor_noise": [0.01, 0.05]},
            "gated_noise_up_to": 0.01,
            "episodes": 64,
        }


def draft(request: Request) -> Draft:
    """The project of the environment, whose policy is trained. Raises CannotStart."""
    world = _looked_at(request.source)
    reached = world.random_return
    lines = [
        "  policy:",
        f"    trainer: {TRAINER}    # or a function of yours: module:function",
        "    hyperparameters:",
        f"      environment: {scalar(world.id)}",
        "      iterations: 30                 # the return is reported after each",
        "      environments: 16",
        "      steps_per_iteration: 256",
        "      passes: 6",
        "      entropy_weight: 0.0",
        "      normalise_observations: true",
        f"      reward_scale: {_scale(reached):g}",
        "      bootstrap_truncated: true",
        *(["      discount: 0.9"] if world.is_continuous else []),
    ]
    gate = f"return: {{at_least: {_bound(reached):g}, of: mean}}   # random actions reach "
    return _draft(request, world, lines, f"{gate}{reached:.4g}", world.seen)


def draft_of_policy(request: Request) -> Draft:
    """The project of a policy that is there, which the episodes of the environment prove.

    Raises CannotStart.
    """
    environment = request.environment or ""
    if not request.source.lower().endswith(POLICY):
        raise CannotStart(f"got {request.source!r} as a policy, expected an ONNX file ({POLICY})")
    if request.data is not None:
        raise CannotStart("got --data and --environment, expected one of them to prove the model")
    if not recognises(environment):
        raise CannotStart(
            f"got {environment!r} as the environment of the policy, expected the id of one that "
            "Gymnasium knows, such as CartPole-v1"
        )
    world = _looked_at(environment)
    request.say("trying the policy in the environment, to know what it reaches ...")
    policy: dict[str, Any] = {"model": str(Path(request.source).absolute())}
    if world.is_continuous:
        policy["actions"] = "values"
    with tempfile.TemporaryDirectory(prefix="orrery-init-") as folder:
        trial = Trial.of_policy(
            request.name, policy, world.suite, world.random_return, Path(folder)
        )
    place = scalar(address(request.source, request.folder))
    lines = ["  policy:", f"    from: {place}    # a changed file becomes a new version"]
    if world.is_continuous:
        lines.append("    hyperparameters: {actions: values}")
    return _draft(request, world, lines, trial.gate, [*world.seen, trial.sentence])


def _draft(request: Request, world: World, model: list[str], gate: str, seen: list[str]) -> Draft:
    suite = json.dumps(world.suite["vary"]).replace('"', "")
    lines = [
        f"project: {request.name}",
        "owner: team:me                       # who answers for it: team:NAME, or an address",
        "",
        "models:",
        *model,
        "",
        "simulations:",
        "  episodes:",
        "    model: policy",
        "    suite:",
        "      kind: episodes",
        f"      environment: {scalar(world.id)}",
        f"      vary: {suite}",
        f"      gated_noise_up_to: {world.suite['gated_noise_up_to']:g}",
        f"      episodes: {world.suite['episodes']}",
        "    gate:",
        f"      {gate}",
        "",
        "services:",
        "  api: {model: policy}",
    ]
    return Draft(request.name, "\n".join(lines) + "\n", seen)


def _looked_at(name: str) -> World:
    """The environment of this id. Raises CannotStart."""
    import gymnasium

    try:
        environment = gymnasium.make(name)
    except Exception as error:
        # An environment may raise anything, such as the error of a library that is missing.
        raise CannotStart(f"{name} cannot be made: {error}") from error
    world = World(
        name,
        str(environment.observation_space),
        str(environment.action_space),
        isinstance(environment.action_space, gymnasium.spaces.Box),
        _random_return(environment),
    )
    environment.close()
    return world


def _random_return(environment: "gymnasium.Env") -> float:
    """Mean return of a policy that draws its actions."""
    environment.action_space.seed(0)
    returns = []
    for episode in range(EPISODES):
        environment.reset(seed=episode)
        total, steps, ended = 0.0, 0, False
        while not ended and steps < MOST_STEPS:
            action = environment.action_space.sample()
            _, reward, terminated, truncated, _ = environment.step(action)
            total, ended, steps = total + float(reward), terminated or truncated, steps + 1
        returns.append(total)
    return sum(returns) / len(returns)


def _bound(reached: float) -> float:
    """A return that random actions do not reach: twice theirs, or half of the loss."""
    better = 2 * reached if reached > 0 else reached / 2
    return float(f"{better:.2g}")


def _scale(reached: float) -> float:
    """Factor that brings returns of hundreds to tens."""
    return 0.1 if abs(reached) > 50 else 1.0
