"""The revision of the code that makes things, for everything that is made."""

import functools
import subprocess

from resources.settings import CHECKOUT, Settings


@functools.cache
def revision() -> str:
    """What the settings say; else git's commit of the checkout, with `-dirty` when files differ, or
    `unknown` without git."""
    if told := Settings().revision:
        return told
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return f"{commit}-dirty" if _git("status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()
