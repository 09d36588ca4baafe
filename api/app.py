"""The gateway's application: REST, agent tools, MCP, sign-in, and the UIs, on one port."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts import audit
from accounts.principal import Principal
from api.access.identity import PRINCIPAL, Identity
from api.access.sign_in import SignIn
from api.agents.mcp import McpEndpoint
from api.agents.natural_language import Asking
from api.agents.tools import Agents
from api.consoles.dagster import DagsterProxy
from api.consoles.mlflow import MlflowProxy
from api.consoles.mounting import dagster_ui, mlflow_ui
from api.context import Platform
from api.executor import Executor
from api.handlers.table import HANDLERS, QUICK
from api.http import pages
from api.http.log_stream import LogStreams
from api.http.middleware import REQUEST_ID, AuthenticationMiddleware
from api.http.routes import add_routes
from api.jobs.callbacks import Callbacks
from api.jobs.dispatcher import Dispatcher
from api.operations.table import OPERATIONS
from api.predictions.forward import Predictions, is_forwarded
from api.problems import TYPES, FieldError, Problem
from api.settings import GatewaySettings
from projects.mistakes import located
from resources.database.control import ControlUnavailable
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.graphql import DagsterGraphql
from resources.settings import Settings

log = logging.getLogger(__name__)


class Gateway:
    """Everything behind the middleware, by the first part of the path."""

    def __init__(
        self, settings: Settings, gateway: GatewaySettings, *, preload: bool = True
    ) -> None:
        """With `preload` the UIs are loaded at the start, else when something first needs them."""
        self._preload = preload
        self.platform = Platform(settings, gateway, ClusterSettings())
        self.identity = Identity(self.platform)
        self.dagster, self.mlflow = dagster_ui(settings), mlflow_ui(settings)
        self.graphql = DagsterGraphql(self.dagster.client, "/dagster")
        self.streams = LogStreams()
        self.executor = Executor(
            self.platform, HANDLERS, {"train.logs": self.streams.follow}, QUICK
        )
        self.predictions = Predictions(self.executor)
        self.agents = Agents(self.executor)
        self.mcp = McpEndpoint(self.agents, settings)
        self.dispatcher = Dispatcher(self.platform, self.graphql, Callbacks(self.platform))
        self.api = self._api()
        self._routes: dict[str, ASGIApp] = {
            "dagster": DagsterProxy(self.dagster, self._note),
            "mlflow": MlflowProxy(self.mlflow, self._note),
            "mcp": self.mcp,
        }

    def guarded(self) -> AuthenticationMiddleware:
        """The application, behind its middleware."""
        gateway = self.platform.gateway
        return AuthenticationMiddleware(
            self,
            self.identity,
            largest_body=gateway.request_bytes,
            requests_per_minute=gateway.requests_per_minute,
            predictions_per_minute=gateway.predictions_per_minute,
            rate_limit_storage=gateway.rate_limit_storage.get_secret_value(),
            on_denied=self._note_denial,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the part that its path begins with."""
        if scope["type"] == "lifespan":
            await self.api(scope, receive, send)
        elif scope["type"] == "http" and is_forwarded(scope["method"], scope["path"]):
            await self.predictions(scope, receive, send)
        else:
            first = scope["path"].split("/", 2)[1]
            await self._routes.get(first, self.api)(scope, receive, send)

    def _api(self) -> FastAPI:
        app = FastAPI(
            title="Orrery",
            version="1",
            summary="Train, simulate, serve; every operation for programs and agents.",
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            lifespan=self._lifespan,
        )
        add_routes(app, OPERATIONS, self.executor)
        app.include_router(SignIn(self.platform, self.identity).router())
        _add_pages(app, self)
        app.add_exception_handler(Problem, _on_problem)
        app.add_exception_handler(RequestValidationError, _on_invalid)
        app.add_exception_handler(HTTPException, _on_http)
        app.add_exception_handler(ControlUnavailable, _on_locked)
        app.add_exception_handler(Exception, _on_failure)
        self.executor.bind("agent.ask", Asking(self.platform.gateway, self.agents).ask)
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def soon(event: Any) -> Any:
            return lambda: loop.call_soon_threadsafe(event)

        self.platform.work_is_waiting = soon(self.dispatcher.wake)
        self.platform.declarations_changed = soon(self.dispatcher.reload)
        self.platform.rights_changed = self.identity.forget
        if self._preload:
            self.dagster.start()
            self.mlflow.start()
        working = asyncio.create_task(self.dispatcher.run())
        try:
            async with self.mcp.running():
                yield
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await working
            await self.dagster.close()
            await self.mlflow.close()
            self.predictions.close()
            # Closed last, because the parts before it may still write.
            self.platform.control.close()

    async def _note(self, principal: Principal, action: str, object: str, after: Any) -> None:
        await run_in_threadpool(self._noted, principal, action, object, after)

    def _noted(self, principal: Principal, action: str, object: str, after: Any) -> None:
        with self.platform.control.write() as connection:
            audit.record(
                connection,
                organization=principal.organization,
                actor=str(principal),
                action=action,
                object=object,
                reason=f"role {principal.role}",
                after=after,
            )

    def _note_denial(self, scope: Scope, problem: Problem) -> None:
        principal: Principal | None = scope.get(PRINCIPAL)
        if principal is None:
            return
        try:
            with self.platform.control.write() as connection:
                audit.record(
                    connection,
                    organization=principal.organization,
                    actor=str(principal),
                    # The column has 80 characters, and PostgreSQL refuses longer text.
                    action=f"{scope.get('method', 'WS')} {scope['path']}"[:80],
                    object=scope["path"],
                    decision="denied",
                    reason=problem.detail,
                )
        except ControlUnavailable:
            log.warning("a denial could not be audited: %s %s", principal, problem.detail)


def _add_pages(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/", include_in_schema=False)
    def home(request: Request) -> Response:
        return pages.home(request.scope[PRINCIPAL])

    @app.get("/docs", include_in_schema=False)
    def reference() -> Response:
        return pages.reference(OPERATIONS)

    @app.get("/openapi.json", include_in_schema=False)
    def document() -> Response:
        return JSONResponse(openapi(app))

    @app.get("/problems/{slug}", include_in_schema=False)
    def problem(slug: str) -> Response:
        if slug not in TYPES:
            raise Problem("not-found", f"there is no kind of problem {slug!r}")
        return JSONResponse({"type": f"/problems/{slug}", **TYPES[slug]._asdict()})

    @app.get("/health", include_in_schema=False)
    def health() -> Response:
        return Response("OK")

    @app.get("/ready", include_in_schema=False)
    async def ready() -> Response:
        parts = {"dagster": gateway.dagster.is_ready(), "mlflow": gateway.mlflow.is_ready()}
        return JSONResponse(parts, 200 if all(parts.values()) else 503)


def openapi(app: FastAPI) -> dict[str, Any]:
    """The API's document, OpenAPI 3.1."""
    document = app.openapi()
    if "securitySchemes" not in document.setdefault("components", {}):
        document["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "An API key."}
        }
        document["security"] = [{"key": []}]
        for methods in document["paths"].values():
            for operation in methods.values():
                # FastAPI writes its own kind of problem for 422; ours is in its place.
                operation["responses"].pop("422", None) if "problem" not in str(
                    operation["responses"].get("422")
                ) else None
    return document


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(request.scope.get(REQUEST_ID, ""))


async def _on_locked(request: Request, error: Exception) -> Response:
    problem = Problem("unavailable", str(error), retry_after_s=2)
    return problem.response(request.scope.get(REQUEST_ID, ""))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    mistakes = error.errors()
    slug = "malformed" if any(e["type"].startswith("json") for e in mistakes) else "invalid"
    in_body = [{**e, "loc": e["loc"][1:]} for e in mistakes if e["loc"][0] == "body"]
    places = [(e["loc"][1:], e) for e in mistakes if e["loc"][0] != "body"]
    places += located(in_body, error.body)
    errors = [
        FieldError(field=".".join(map(str, place)), message=details["msg"])
        for place, details in places
    ]
    problem = Problem(slug, f"{len(errors)} parts of the request do not fit", errors=errors)
    return problem.response(request.scope.get(REQUEST_ID, ""))


async def _on_failure(request: Request, _: Exception) -> Response:
    problem = Problem("internal", "the request ended with an error that nobody expected")
    return problem.response(request.scope.get(REQUEST_ID, ""))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slugs = {400: "malformed", 404: "not-found", 405: "method-not-allowed", 413: "too-large"}
    slug = slugs.get(error.status_code, "internal")
    path = request.url.path
    detail = f"there is nothing at {path}" if slug == "not-found" else str(error.detail)
    problem = Problem(slug, detail)
    return problem.response(request.scope.get(REQUEST_ID, ""), error.headers)
