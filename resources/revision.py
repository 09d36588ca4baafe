"""The revision of the code that makes things, for everything that is made: the platform's own, and
that of the folder in which a project's code lies."""

import functools
import subprocess
from pathlib import Path
from typing import NamedTuple

from resources.settings import CHECKOUT, Settings

MOST_DIFF_BYTES = 1_000_000


class ProjectRevision(NamedTuple):
    """Where the code of a project stands."""

    name: str
    """Commit, with `-dirty` where files differ from it; `unknown` without git."""
    diff: str
    """What is not committed, as a patch; empty where all is, or without git."""


@functools.cache
def revision() -> str:
    """What the settings say; else git's commit of the checkout, with `-dirty` when files differ, or
    `unknown` without git."""
    if declared := Settings().revision:
        return declared
    return project_revision(CHECKOUT).name


def project_revision(folder: Path) -> ProjectRevision:
    """Revision of the folder, with the files in it that are changed or new."""
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--", ".").strip()
        if not changed:
            return ProjectRevision(commit, "")
        return ProjectRevision(f"{commit}-dirty", _patch(folder, changed))
    except (OSError, subprocess.SubprocessError):
        return ProjectRevision("unknown", "")


def _patch(folder: Path, changed: str) -> str:
    """The diff of changed files, and Python and YAML files that git does not know yet."""
    parts = [_git(folder, "diff", "HEAD", "--", ".")]
    top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
    for line in changed.splitlines():
        # Git puts names with spaces or special letters into quotes.
        file = top / line[3:].strip('"')
        if line.startswith("??") and file.suffix in (".py", ".yaml", ".yml") and file.is_file():
            parts.append(f"+++ {line[3:]} (new)\n{file.read_text(errors='replace')}")
    return "\n".join(parts)[:MOST_DIFF_BYTES]


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
