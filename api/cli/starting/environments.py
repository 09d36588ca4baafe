"""A project from a Gymnasium environment: a policy, and episodes that prove it."""

from typing import TYPE_CHECKING

from api.cli.starting.draft import CannotStart, Draft, Request, scalar

if TYPE_CHECKING:
    import gymnasium

TRAINER = "training.control:train"
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


def draft(request: Request) -> Draft:
    """The project of the environment. Raises CannotStart."""
    import gymnasium

    try:
        environment = gymnasium.make(request.source)
    except Exception as error:
        # An environment may raise anything, such as the error of a library that is missing.
        raise CannotStart(f"{request.source} cannot be made: {error}") from error
    seen = [
        f"observed as {environment.observation_space}",
        f"acted on by {environment.action_space}",
    ]
    is_continuous = isinstance(environment.action_space, gymnasium.spaces.Box)
    reached = _random_return(environment)
    seen.append(f"random actions reach a return of {reached:.4g}")
    environment.close()
    lines = [
        f"project: {request.name}",
        "owner: team:me                       # who answers for it: team:NAME, or an address",
        "",
        "models:",
        "  policy:",
        f"    trainer: {TRAINER}    # or a function of yours: module:function",
        "    hyperparameters:",
        f"      environment: {scalar(request.source)}",
        "      iterations: 30                 # the return is reported after each",
        "      environments: 16",
        "      steps_per_iteration: 256",
        "      passes: 6",
        "      entropy_weight: 0.0",
        "      normalise_observations: true",
        f"      reward_scale: {_scale(reached):g}",
        "      bootstrap_truncated: true",
        *(["      discount: 0.9"] if is_continuous else []),
        "",
        "simulations:",
        "  episodes:",
        "    model: policy",
        "    suite:",
        "      kind: episodes",
        f"      environment: {scalar(request.source)}",
        "      vary: {sensor_noise: [0.01, 0.05]}",
        "      gated_noise_up_to: 0.01",
        "      episodes: 64",
        f"    gate:                            # random actions reach {reached:.4g}",
        f"      return: {{at_least: {_bound(reached):g}, of: mean}}",
        "",
        "services:",
        "  api: {model: policy}",
    ]
    return Draft(request.name, "\n".join(lines) + "\n", seen)


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
