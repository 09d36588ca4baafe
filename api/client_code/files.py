"""The files of the client that are written, and those that are not up to date."""

import subprocess
import sys

from api.client_code import answers, groups
from api.operations.table import OPERATIONS
from resources.settings import CHECKOUT

CLIENT = CHECKOUT / "client" / "orrery"
FOLDERS = ("answers", "operations")


def files() -> dict[str, str]:
    """Text of every file that is written, by its path in the client's package."""
    types = answers.modules(OPERATIONS)
    about = answers.HEADER.format(about="What operations take and answer, by family.")
    texts = {f"answers/{name}.py": text for name, text in types.items()}
    texts["answers/__init__.py"] = about + "\n"
    named = {f"operations/{n}.py": text for n, text in groups.modules(OPERATIONS).items()}
    return {name: _formatted(text, name) for name, text in (texts | named).items()}


def stale(texts: dict[str, str]) -> list[str]:
    """Files that are missing, differ, or belong to no operation any more."""
    kept = {
        f"{folder}/{file.name}": file.read_text(encoding="utf-8")
        for folder in FOLDERS
        for file in (CLIENT / folder).glob("*.py")
    }
    return sorted(name for name in texts | kept if texts.get(name) != kept.get(name))


def _formatted(text: str, name: str) -> str:
    """The text as `make check` wants it. Raises CalledProcessError where it is no Python."""
    path = str(CLIENT / name)
    for command in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        whole = [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"]
        done = subprocess.run(
            whole, check=True, cwd=CHECKOUT, input=text, capture_output=True, text=True
        )
        text = done.stdout
    return text
