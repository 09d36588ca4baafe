"""Environments in which a suite lets a policy act, with one thing or another about them changed."""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv

from engine.environments import find_environment, nearest
from engine.protocol import Refused
from simulations.kinds.episodes import NOISES

HORIZON = 500
"""Steps of an episode where neither the suite nor the environment says how many."""
CARTPOLE = {
    "pole_length": "length",
    "pole_mass": "masspole",
    "push_force": "force_mag",
}
"""Attributes of Gymnasium's CartPole by their names in a suite."""

Environment = gymnasium.Env[Any, Any]


class VariedEnvironment:
    """Makes one environment with varied attributes and keyword arguments."""

    def __init__(self, name: str, arguments: Mapping[str, Any], derive: str = "") -> None:
        """Raises Refused where there is no environment, or no function `derive`."""
        self.name = name
        self._arguments = dict(arguments)
        self._maker = find_environment(name)
        self._derive = _function(derive) if derive else None
        self._nominal: dict[str, Any] = {}

    def probe(self, names: list[str]) -> Environment:
        """An environment as it is, from which the nominal values of the names are read.

        Raises Refused where it has none of the name, or one that is no number.
        """
        environment = self._maker.make(self._arguments, is_limited=False)
        for name in names:
            self._nominal[name] = self._nominal_of(name, environment.unwrapped)
        return environment

    def is_zero(self, name: str) -> bool:
        """Whether levels of the name are values: a multiple of a nominal value of 0 is 0."""
        return not np.any(self._nominal[name])

    def make(self, levels: Mapping[str, float]) -> Environment:
        """A new environment with each name at its level. Raises Refused."""
        values = {name: _at_level(self._nominal[name], level) for name, level in levels.items()}
        given = {n: v for n, v in values.items() if self._is_argument(n)}
        environment = self._maker.make({**self._arguments, **given}, is_limited=False)
        try:
            for name in values.keys() - given.keys():
                _set(environment.unwrapped, _path(environment.unwrapped, name), values[name])
            _derive_known(environment.unwrapped, values.keys())
            if self._derive:
                self._derive(environment.unwrapped)
        except (Exception, SystemExit) as error:
            raise Refused(
                f"{self.name!r} cannot be brought to {values}: got {type(error).__name__}: "
                f"{error}; expected attributes that may be set, and a `derive` that takes the "
                "environment: vary what can be set, or a keyword argument of the environment"
            ) from error
        return environment

    def _is_argument(self, name: str) -> bool:
        return _is_number({**self._maker.parameters, **self._arguments}.get(name))

    def _nominal_of(self, name: str, unwrapped: Environment) -> Any:
        if self._is_argument(name):
            return {**self._maker.parameters, **self._arguments}[name]
        holder: Any = unwrapped
        for part in (path := _path(unwrapped, name).split(".")):
            if not hasattr(holder, part):
                raise self._missing(name, part, holder, unwrapped)
            holder = getattr(holder, part)
        if not _is_number(holder):
            raise Refused(
                f"{'.'.join(path)!r} of {self.name!r} is {holder!r:.80}, expected a number or an "
                f"array of numbers{nearest(name, self._varied_names(unwrapped))}: vary a number"
            )
        return holder

    def _missing(self, name: str, part: str, holder: Any, unwrapped: Environment) -> Refused:
        if part in self._maker.parameters and holder is unwrapped:
            return Refused(
                f"the keyword argument {name!r} of {self.name!r} has no number as its default, "
                "expected one that levels are multiples of: give one in `arguments`"
            )
        names = _numbers(holder) if holder is not unwrapped else self._varied_names(unwrapped)
        what = f"{type(holder).__name__} of {self.name!r}"
        return Refused(
            f"{what} has no attribute {part!r}, and the environment takes no keyword argument "
            f"{name!r}{nearest(part, names)}; expected an attribute of the unwrapped environment, "
            f"a keyword argument, or one of {', '.join(NOISES)}: correct `vary`"
        )

    def _varied_names(self, unwrapped: Environment) -> list[str]:
        known = CARTPOLE if isinstance(unwrapped, CartPoleEnv) else {}
        arguments = [name for name in self._maker.parameters if self._is_argument(name)]
        return [*_numbers(unwrapped), *arguments, *known, *NOISES]


def horizon_of(environment: Environment) -> int:
    """Steps after which the environment itself cuts an episode, else `HORIZON`."""
    spec = environment.spec
    # The specification of an environment that was made without a limit has none, but that of its
    # id keeps it.
    limit = spec.max_episode_steps if spec else None
    if limit in (None, -1) and spec and spec.id in gymnasium.registry:
        limit = gymnasium.registry[spec.id].max_episode_steps
    return limit or HORIZON


def _function(name: str) -> Callable[[Any], Any]:
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:
        raise Refused(
            f"`derive` cannot be imported: got {name!r}, {type(error).__name__}: {error}; "
            "expected module:function, which takes the environment"
        ) from error


def _path(unwrapped: Environment, name: str) -> str:
    return CARTPOLE.get(name, name) if isinstance(unwrapped, CartPoleEnv) else name


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.size > 0 and np.issubdtype(value.dtype, np.number)
    # A class stands for a parameter without a default.
    is_kind = inspect.isclass(value) or isinstance(value, bool)
    return not is_kind and isinstance(value, int | float | np.number)


def _numbers(holder: Any) -> Iterator[str]:
    """Names of the attributes that may be varied; reading some of them may fail."""
    for name in dir(holder):
        if name.startswith("_"):
            continue
        with contextlib.suppress(Exception):
            if _is_number(getattr(holder, name)):
                yield name


def _at_level(nominal: Any, level: float) -> Any:
    """The value: a multiple of the nominal one, or the level itself where that is 0."""
    if isinstance(nominal, np.ndarray):
        return nominal * level if nominal.any() else np.full(nominal.shape, level)
    value = nominal * level if nominal else level
    # A count stays one, where the level leaves it whole.
    is_count = isinstance(nominal, int | np.integer) and value == int(value)
    return int(value) if is_count else float(value)


def _set(holder: Any, path: str, value: Any) -> None:
    *outer, last = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    setattr(holder, last, value)


def _derive_known(unwrapped: Environment, changed: Collection[str]) -> None:
    """What the constructor of an environment of Gymnasium derives from the attributes."""
    if not isinstance(unwrapped, CartPoleEnv):
        return
    if "total_mass" not in changed:
        unwrapped.total_mass = unwrapped.masspole + unwrapped.masscart
    if "polemass_length" not in changed:
        unwrapped.polemass_length = unwrapped.masspole * unwrapped.length
