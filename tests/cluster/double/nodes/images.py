"""What stands behind an image name: a Python, a working folder, and variables."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PYTHON_IMAGE = "python:3.11-slim"

_PYTHONS = {"python", "python3", "python3.11"}
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class ImagePlan:
    """How the containers of an image run as local processes.

    `python` is what `python` means, and its folder is where other programs are looked for first.
    `entrypoint` runs where a container names no command.
    """

    python: str = sys.executable
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """`PATH` within the container."""
        return f"{Path(self.python).parent}:{_SYSTEM_PATH}"

    def argv(self, command: list[str]) -> list[str]:
        """The command with its program found."""
        program, *arguments = command
        if Path(program).name in _PYTHONS:
            return [self.python, *arguments]
        result = shutil.which(program, path=self.path)
        if result is None:
            raise FileNotFoundError(f'exec: "{program}": executable file not found in $PATH')
        return [result, *arguments]


ImageSource = Callable[[str], ImagePlan | None]
Images = dict[str, ImagePlan] | ImageSource

DEFAULT_IMAGES: dict[str, ImagePlan] = {
    r"(^|/)python:": ImagePlan(),
    # Controllers of other makers: they run, and the tests' own stand in for what they do.
    r"^operators/": ImagePlan(entrypoint=("sleep", "3600")),
}


def find_image(images: Images, name: str) -> ImagePlan | None:
    """The plan for an image, or None where it cannot be pulled."""
    if callable(images):
        return images(name)
    return next((plan for pattern, plan in images.items() if re.search(pattern, name)), None)


def base_environment(plan: ImagePlan, home: str, hostname: str) -> dict[str, str]:
    """Variables every container of the image starts with."""
    shared = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    own = {"PATH": plan.path, "HOME": home, "LANG": "C.UTF-8", "HOSTNAME": hostname}
    return {**shared, **own, **plan.env}
