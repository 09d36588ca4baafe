"""Collections that wait for a process: each gets one, one after the other.

A process of its own, because a plan holds the interpreter for seconds, and a removal may take
hours.
"""

import asyncio
import sys

from starlette.concurrency import run_in_threadpool

from api.context import Platform
from engine.parent_death import die_with_parent
from resources.collection.records import records
from resources.collection.records.records import Record
from resources.settings import CHECKOUT


class CollectionQueue:
    """Starts the processes of collections; of several gateways each starts others."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def work(self) -> bool:
        """Whether there was one to work on; its process has ended now.

        Raises ControlUnavailable or OSError.
        """
        record = await run_in_threadpool(self._claimed)
        if record is None:
            return False
        log = self._platform.settings.state.absolute() / "processes" / "collection.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", "api.collection.process", record.id],
                cwd=CHECKOUT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        return True

    def _claimed(self) -> Record | None:
        with self._platform.control.read() as connection:
            if not records.has_due(connection):
                return None
        with self._platform.control.write() as connection:
            return records.claim(connection)
