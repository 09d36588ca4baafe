"""The Dagster and MLflow UIs, inside this process or forwarded to another.

Loading them takes seconds, so it happens beside the first requests; until then what needs one of
them gets an error that says when to try again.
"""

import asyncio
import contextlib
import gc
import logging
import os
from collections.abc import Callable
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from api.consoles.forwarding import Forward
from api.problems import Problem
from resources.database.lock import OPENING_LOCK
from resources.orchestration.graphql import DagsterUnavailable
from resources.settings import Settings

LOAD_S = 120.0
log = logging.getLogger(__name__)


class Mounted:
    """An application that is loaded in a thread, once."""

    def __init__(self, name: str, load: Callable[[contextlib.ExitStack], ASGIApp]) -> None:
        self._name, self._load = name, load
        self._resources = contextlib.ExitStack()
        self._loading: asyncio.Future[ASGIApp] | None = None
        self._client: httpx.AsyncClient | None = None

    def start(self) -> None:
        """Begin to load it."""
        loop = asyncio.get_running_loop()
        self._loading = loop.run_in_executor(None, self._load, self._resources)
        self._loading.add_done_callback(self._tell)

    def _tell(self, loading: "asyncio.Future[ASGIApp]") -> None:
        if loading.cancelled():
            return
        if error := loading.exception():
            log.error("%s could not be loaded", self._name, exc_info=error)
            return
        # What was loaded stays: looking through it for garbage costs more than any request.
        gc.collect()
        gc.freeze()

    def is_ready(self) -> bool:
        """Whether it is loaded; a load that failed is tried again."""
        loading = self._loading
        if loading is None or not loading.done():
            return False
        if loading.exception() is None:
            return True
        self.start()
        return False

    async def app(self) -> ASGIApp:
        """The application. Raises the problem `unavailable`; a failed load is tried again."""
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self.start()
        assert self._loading is not None
        try:
            # Shielded: a request that gives up must not cancel the load for the others.
            return await asyncio.wait_for(asyncio.shield(self._loading), LOAD_S)
        except Exception as error:
            text = f"{self._name} does not start: {error}"
            raise Problem("unavailable", text, retry_after_s=10) from error

    async def close(self) -> None:
        """Give back what the application holds."""
        if self._loading is not None:
            # A load that is under way would open resources that nobody closes.
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(self._loading), LOAD_S)
        await asyncio.get_running_loop().run_in_executor(None, self._resources.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await (await self.app())(scope, receive, send)

    async def client(self) -> httpx.AsyncClient:
        """A client that calls the application directly. Raises DagsterUnavailable."""
        if self._client is None:
            try:
                app: Any = await self.app()
            except Problem as problem:
                raise DagsterUnavailable(problem.detail) from problem
            transport = httpx.ASGITransport(app=app)
            inside = httpx.AsyncClient(transport=transport, base_url="http://inside")
            self._client = app.client if isinstance(app, Forward) else inside
        return self._client


def dagster_ui(settings: Settings) -> Mounted:
    """Dagster's webserver under /dagster."""
    if settings.dagster_uri:
        return Mounted("Dagster", lambda _: Forward(settings.dagster_uri))
    return Mounted("Dagster", lambda resources: _load_dagster(settings, resources))


def mlflow_ui(settings: Settings) -> Mounted:
    """MLflow's server under /mlflow."""
    if settings.mlflow_uri.startswith("http"):
        return Mounted("MLflow", lambda _: Forward(settings.mlflow_uri))
    return Mounted("MLflow", lambda _: _load_mlflow(settings))


def _load_dagster(settings: Settings, resources: contextlib.ExitStack) -> ASGIApp:
    from dagster import DagsterInstance

    # Private: Dagster offers its webserver as a process only (docs/decisions/0006).
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    from resources.orchestration.code_server import wait_for_code_server, workspace_of
    from resources.orchestration.schema import upgrade_storage

    # Alembic keeps its state in module globals, so databases are opened one at a time.
    with OPENING_LOCK:
        instance = resources.enter_context(DagsterInstance.get())
        upgrade_storage(instance, settings)
    wait_for_code_server(settings)
    target = WorkspaceFileTarget(paths=[str(workspace_of(settings))])
    context = WorkspaceProcessContext(instance, target, version=__version__)
    return create_app_from_workspace_process_context(resources.enter_context(context), "/dagster")


def _load_mlflow(settings: Settings) -> ASGIApp:
    from resources.tracking.server import server_app

    # The middleware checks where requests are from.
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = "*"
    # It would keep secrets of language models' providers, and call them.
    os.environ["MLFLOW_ENABLE_AI_GATEWAY"] = "false"
    return server_app(settings.tracking_uri, settings.mlflow_artifacts, "/mlflow")
