"""The files of the client that are written, and those that are not up to date."""

import subprocess
import sys
import tempfile
from pathlib import Path

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
    return _formatted(texts | named)


def stale(texts: dict[str, str]) -> list[str]:
    """Files that are missing, differ, or belong to no operation any more."""
    kept = {
        f"{folder}/{file.name}": file.read_text(encoding="utf-8")
        for folder in FOLDERS
        for file in (CLIENT / folder).glob("*.py")
    }
    return sorted(name for name in texts | kept if texts.get(name) != kept.get(name))


def _formatted(texts: dict[str, str]) -> dict[str, str]:
    """The texts as `make check` wants them. Raises CalledProcessError where one is no Python."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, text in texts.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        for command in (["check", "--select", "I", "--fix"], ["format"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--quiet"]
            whole = [*ruff, "--config", str(CHECKOUT / "pyproject.toml"), scratch]
            subprocess.run(whole, check=True, cwd=CHECKOUT)
        return {name: (folder / name).read_text(encoding="utf-8") for name in texts}
