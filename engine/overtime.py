"""An engine that has written its result and does not end: a library's thread may wait for ever."""

import time
from pathlib import Path

END_WITHIN_S = 5.0
"""How long an engine may still run once its result is written."""


class Overtime:
    """Time that an engine has run since its result was seen."""

    def __init__(self, workdir: Path) -> None:
        self._result = workdir / "result.json"
        self._since: float | None = None

    def is_over(self) -> bool:
        """Whether the engine is to be stopped; its result stands."""
        now = time.monotonic()
        if self._since is None and self._result.exists():
            self._since = now
        return self._since is not None and now - self._since > END_WITHIN_S
