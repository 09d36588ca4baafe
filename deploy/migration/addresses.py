"""Addresses of the state folder, and what they become in the bucket."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

NESTED = 3
"""How deep JSON lies in JSON: a path with letters outside ASCII is escaped once a level."""


class Addresses:
    """Replaces addresses of files in texts."""

    def __init__(self, folders: Iterable[Path], bucket: str) -> None:
        new: dict[str, str] = {}
        for folder in folders:
            for part, address in (("mlflow", f"{bucket}/mlflow"), ("objects", bucket)):
                for old in ((folder / part).as_uri(), str(folder / part)):
                    new |= dict.fromkeys(_spellings(old), address)
        self._new = new
        # The first alternative that fits is taken, and one address may be the beginning of another.
        longest_first = sorted(map(re.escape, new), key=len, reverse=True)
        # A longer path or name that only contains the address is another's.
        self._pattern = re.compile(
            rf"(?:(?<![\w./-])|(?<=\\[nt]))(?:{'|'.join(longest_first)})(?![\w-]|\.\w)"
        )

    def rewritten(self, text: str) -> str:
        """The text with every address of the folder replaced by that in the bucket."""
        return self._pattern.sub(lambda match: self._new[match[0]], text)


def _spellings(address: str) -> list[str]:
    """The address as text, and as it is escaped in JSON."""
    spellings = [address]
    for _ in range(NESTED):
        spellings.append(json.dumps(spellings[-1])[1:-1])
    return spellings
