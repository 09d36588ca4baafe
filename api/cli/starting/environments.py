"""A project from a Gymnasium environment: a policy, and episodes that prove it."""

from api.cli.starting.draft import CannotStart, Draft, Request, scalar

TRAINER = "training.control:train"


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
    horizon = getattr(environment.spec, "max_episode_steps", None) or 500
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
        "      iterations: 60",
        "      environments: 8",
        "      steps_per_iteration: 500",
        "",
        "simulations:",
        "  episodes:",
        "    model: policy",
        "    suite:",
        "      kind: episodes",
        f"      environment: {scalar(request.source)}",
        "      vary: {sensor_noise: [0.01, 0.05]}",
        f"      horizon: {horizon}",
        "      episodes: 64",
        "    gate:                            # the return of one episode, in the mean",
        f"      return: {{at_least: {_bound(request.source):g}, of: mean}}",
        "",
        "services:",
        "  api: {model: policy}",
    ]
    return Draft(request.name, "\n".join(lines) + "\n", seen)


def _bound(environment: str) -> float:
    """Half of what the environment's registration calls solved, else what random actions reach."""
    import gymnasium
    import numpy as np

    made = gymnasium.make(environment)
    made.action_space.seed(0)
    returns = []
    for episode in range(8):
        made.reset(seed=episode)
        total, ended = 0.0, False
        while not ended:
            _, reward, terminated, truncated, _ = made.step(made.action_space.sample())
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
    made.close()
    return float(np.round(np.mean(returns), 1))
