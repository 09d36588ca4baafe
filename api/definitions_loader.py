"""Dagster's definitions follow the declarations."""

import asyncio
import contextlib
import logging

from starlette.concurrency import run_in_threadpool

from api.context import Platform
from resources.declarations import Declarations
from resources.orchestration.graphql import DagsterGraphql, DagsterUnavailable

WATCH_EVERY_S = 2.0
PAUSE_S = 1.0
log = logging.getLogger(__name__)


class DefinitionsLoader:
    """Has Dagster load the definitions when a declaration has changed."""

    def __init__(self, platform: Platform, dagster: DagsterGraphql) -> None:
        self._platform, self._dagster = platform, dagster
        self._reload = asyncio.Event()
        self._reloaded = asyncio.Lock()

    def load_soon(self) -> None:
        """Definitions have changed. To be called in the loop's thread."""
        self._reload.set()

    async def load_when_changed(self) -> None:
        """Bring the definitions whenever they have changed, until cancelled."""
        while True:
            await self._reload.wait()
            await self.bring()

    async def watch(self) -> None:
        """Have the definitions loaded whenever a file of a declaration has changed."""
        declarations = Declarations(self._platform.settings)
        seen = await run_in_threadpool(declarations.fingerprint)
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            # A file may be replaced at this very moment; the next round looks again.
            with contextlib.suppress(OSError):
                fingerprint = await run_in_threadpool(declarations.fingerprint)
                if fingerprint != seen:
                    seen = fingerprint
                    log.info("a declaration has changed; the definitions are loaded")
                    self.load_soon()

    async def bring(self) -> None:
        """Have Dagster load the definitions, if they changed since it last did."""
        async with self._reloaded:
            if not self._reload.is_set():
                return
            # Cleared before loading, so that a change during the load causes another load.
            self._reload.clear()
            try:
                await self._dagster.reload()
            except DagsterUnavailable as error:
                log.warning("definitions are not loaded yet: %s", error)
                await asyncio.sleep(PAUSE_S)
                self._reload.set()
