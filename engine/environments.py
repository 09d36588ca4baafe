"""Gymnasium environments by name: a registered id, or `module:NAME` of a project's own code.

Used by the engine that lets a policy learn and by the one that tries it, so that both make the
same environment.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from engine.protocol import Refused

if TYPE_CHECKING:
    from types import ModuleType

    import gymnasium
    from gymnasium.envs.registration import EnvSpec

UNLIMITED = -1
"""What Gymnasium takes as `max_episode_steps` to set no time limit."""


@dataclass(frozen=True)
class EnvironmentMaker:
    """A way to make environments of one name."""

    name: str
    create: Callable[..., Any]
    """Called with keyword arguments of the environment."""
    parameters: Mapping[str, Any]
    """Keyword arguments that it names, with their defaults; `inspect.Parameter.empty` for none."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `create` that leave out the time limit and the checks of Gymnasium."""

    def make(
        self, arguments: Mapping[str, Any], *, is_limited: bool = True
    ) -> "gymnasium.Env[Any, Any]":
        """A new environment. Raises Refused where it cannot be made.

        One of an id that is not limited has neither a time limit nor Gymnasium's own checks.
        """
        import gymnasium

        more = {} if is_limited else self.limits
        try:
            made = self.create(**arguments, **more)
        except (Exception, SystemExit) as error:
            given = f" with {dict(arguments)}" if arguments else ""
            raise Refused(
                f"the environment {self.name!r} cannot be made{given}: got "
                f"{type(error).__name__}: {error}; expected a gymnasium.Env: mend its code, its "
                "`arguments`, or install what it needs"
            ) from error
        if not isinstance(made, gymnasium.Env):
            raise Refused(
                f"{self.name!r} gave a {type(made).__name__}, expected a gymnasium.Env: let it "
                "return an environment"
            )
        return made


def find_environment(name: str) -> EnvironmentMaker:
    """The maker of environments of that name.

    `module:NAME` imports the module; where it has a callable of the name, that is called, and
    where it has registered an id of the name, that is made. Raises Refused where there is none.
    """
    import gymnasium

    module, colon, last = name.rpartition(":")
    if colon:
        loaded = _imported(module, name)
        own = getattr(loaded, last, None)
        if callable(own):
            return EnvironmentMaker(name, own, _parameters(own))
        if last not in gymnasium.registry:
            raise Refused(
                f"module {module!r} has no function {last!r}, and registers no environment of "
                f"that id{nearest(last, _callables(loaded))}; expected a function that returns a "
                "gymnasium.Env, or a registered id"
            )
    if last not in gymnasium.registry:
        raise Refused(
            f"Gymnasium has no environment {name!r}{nearest(last, gymnasium.registry)}; expected "
            "a registered id, or module:make of your own module"
        )
    return _registered(name, gymnasium.registry[last])


def nearest(word: str, valid: Iterable[str]) -> str:
    """Text to append to an error: the nearest valid word; empty where none is near."""
    near = get_close_matches(word, sorted(valid), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _registered(name: str, spec: "EnvSpec") -> EnvironmentMaker:
    import gymnasium

    def create(**arguments: Any) -> Any:
        return gymnasium.make(spec, **arguments)

    return EnvironmentMaker(
        name,
        create,
        {**_parameters(_entry_point(name, spec)), **spec.kwargs},
        {"max_episode_steps": UNLIMITED, "disable_env_checker": True},
    )


def _entry_point(name: str, spec: "EnvSpec") -> Callable[..., Any]:
    from gymnasium.envs.registration import load_env_creator

    if callable(spec.entry_point):
        return spec.entry_point
    try:
        return load_env_creator(str(spec.entry_point))
    except (Exception, SystemExit) as error:
        raise Refused(
            f"the environment {name!r} cannot be imported: got {type(error).__name__}: {error}; "
            "install what it needs"
        ) from error


def _imported(module: str, name: str) -> "ModuleType":
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise Refused(
            f"the module of the environment {name!r} cannot be imported: got "
            f"{type(error).__name__}: {error}; expected a module beside the project's declaration "
            "or in the environment of Python"
        ) from error


def _parameters(creator: Callable[..., Any]) -> dict[str, Any]:
    try:
        declared = inspect.signature(creator).parameters
    except (TypeError, ValueError):  # Functions in C may have no signature.
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: each.default for name, each in declared.items() if each.kind in named}


def _callables(module: "ModuleType") -> list[str]:
    import gymnasium

    own = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
    registered = [
        spec.id
        for spec in gymnasium.registry.values()
        if str(getattr(spec.entry_point, "__module__", spec.entry_point)).startswith(
            module.__name__
        )
    ]
    return own + registered
