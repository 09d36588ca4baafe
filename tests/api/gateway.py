"""A gateway on a port of its own, in this process, over a state folder of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from api.app import Gateway
from api.http.protocol import ProblemProtocol
from api.processes.plan import free_port
from api.settings import GatewaySettings
from resources.settings import CHECKOUT, Settings
from tests.waiting import until

TLS = httpx.create_ssl_context()
"""For all clients: each would else make its own."""


class RunningGateway:
    """A running gateway and ways to come in."""

    def __init__(self, gateway: Gateway, url: str) -> None:
        self.app, self.url = gateway, url
        self.platform = gateway.platform
        owner = gateway.platform.owner()
        self.organization = owner.organization
        self.admin_key = gateway.platform.settings.admin_key_file.read_text().strip()
        self._names = iter(range(10**6))

    @property
    def admin(self) -> httpx.Client:
        return self.client(self.admin_key)

    def client(self, key: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, verify=TLS)

    def key(self, role: str, admin: httpx.Client | None = None, **more: Any) -> str:
        """A key of a new service account with the role."""
        admin = admin or self.admin
        body = {"name": f"{role} {next(self._names)}", "role": role, "kind": "service"}
        user = admin.post("/users", json=body).raise_for_status().json()
        fields = {"name": "test", "role": role, "user_id": user["id"], **more}
        return admin.post("/keys", json=fields).raise_for_status().json()["key"]

    def with_role(self, role: str, **more: Any) -> httpx.Client:
        return self.client(self.key(role, **more))

    def organization_admin(self, id: str) -> httpx.Client:
        """A client of an admin of another organization, made if it is new."""
        from accounts import keys, organizations, users

        with self.platform.control.write() as connection:
            if organizations.find(connection, id) is None:
                organizations.create(connection, id, id)
            user = users.create(connection, "person", f"admin of {id}")
            users.join(connection, user.id, id, "admin")
            _, token = keys.create(
                connection,
                self.platform.secret,
                organization=id,
                user_id=user.id,
                name="test",
                role="admin",
                agents_may_change=True,
            )
        self.app.identity.forget()
        return self.client(token)


@contextmanager
def running_gateway(
    folder: Path, projects: Path | None = None, **options: Any
) -> Iterator[RunningGateway]:
    """A gateway whose state lies in the folder."""
    state = folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORRERY_STATE", str(state))
        patch.setenv("ORRERY_PORT", str(free_port("127.0.0.1")))
        patch.setenv("DAGSTER_HOME", str(CHECKOUT))
        if projects:
            patch.setenv("ORRERY_PROJECTS", str(projects))
        settings = Settings()
        created = Gateway(settings, GatewaySettings(**options), preload=False)
        created.platform.owner()
        config = uvicorn.Config(
            created.guarded(),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            http=ProblemProtocol,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
        thread.start()
        until(lambda: server.started or not thread.is_alive())
        assert server.started
        try:
            yield RunningGateway(created, settings.url)
        finally:
            server.should_exit = True
            thread.join(30)
