"""The door to the service runtime of the embedded default: releases asked of the reconciler.

timeout: `deploy` waits `READY_WITHIN_S` for the new version, besides the canary's own steps.
retry: the reconciler starts a dying process again with growing pauses; a version that does not
    start three times, or that answers with errors, is rolled back.
cancel: a deployment that nobody waits for any more goes on; `withdraw` ends a service.
duplicate: a release equal to the running one changes nothing.
partial write: a release is renamed into place.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx

from engine import lease
from engine.protocol import write_atomically
from resources.compute import ANY, NOBODY, Driver
from resources.needs import Needs
from serving.contract import Release, ServiceStatus

READY_WITHIN_S = 120.0
POLL_S = 0.05
NOT_KNOWN_YET = (404, 502, 503, 504)


class RuntimeAbsent(Exception):
    """No reconciler is at work, so nothing can be served."""


class DeploymentFailed(Exception):
    """The new version did not take over; the earlier one still has the traffic."""


class Runtime(Protocol):
    """What steps ask of the place where services run."""

    request_logs: Path

    def bento_home(self, workdir: Path) -> Path:
        """Folder of the BentoML store that a packaging job with this work directory uses."""
        ...

    def deploy(
        self,
        release: Release,
        on_change: Callable[[ServiceStatus], None],
        needs: Needs = ANY,
        driver: Driver = NOBODY,
    ) -> ServiceStatus:
        """Status once the release has all traffic. Raises DeploymentFailed or RuntimeAbsent."""
        ...

    def status(self, service: str) -> ServiceStatus | None:
        """What the service has reached, or None."""
        ...

    def statuses(self) -> list[ServiceStatus]:
        """Status of every service."""
        ...

    def withdraw(self, service: str) -> None:
        """Stop serving."""
        ...

    def endpoint(self, service: str) -> str | None:
        """Where processes of the platform ask for predictions now, or None when nothing serves."""
        ...


class LocalRuntime:
    """Asks the reconciler for releases, and waits for what it reaches."""

    def __init__(self, services: Path, request_logs: Path) -> None:
        self._services = services
        self.request_logs = request_logs

    def bento_home(self, workdir: Path) -> Path:
        """Folder of the BentoML store, which all services share."""
        return self._services.parent / "bentoml"

    def deploy(
        self,
        release: Release,
        on_change: Callable[[ServiceStatus], None],
        needs: Needs = ANY,
        driver: Driver = NOBODY,
    ) -> ServiceStatus:
        """Status once the release has all traffic; of needs and driver nothing is used here.

        Raises RuntimeAbsent when no reconciler runs (the release is kept for when one does),
        DeploymentFailed when it was rolled back or did not become ready in time.
        """
        folder = self._services / release.service
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "release.json", release.model_dump_json(indent=2))
        patience_s = READY_WITHIN_S + release.step_s * len(release.canary)
        end, seen = time.monotonic() + patience_s, None
        while time.monotonic() < end:
            if lease.holder(self._services) is None:
                raise RuntimeAbsent(
                    f"no reconciler is running, so {release.service} {release.version} is packaged "
                    "but does not serve; start `orrery up`, which takes it up, and materialise "
                    "this again"
                )
            status = self.status(release.service)
            if status is not None and status.target == release.version:
                if status != seen:
                    on_change(status)
                    seen = status
                if status.state == "rolled_back":
                    raise DeploymentFailed(f"{release.service}: {status.message}")
                if status.state == "serving":
                    return status
            time.sleep(POLL_S)
        raise DeploymentFailed(
            f"{release.service} {release.version} did not serve within {patience_s:.0f} s; see the "
            f"logs in {folder / 'logs'}"
        )

    def status(self, service: str) -> ServiceStatus | None:
        """What the reconciler has reached, or None when it knows no such service."""
        try:
            content = (self._services / service / "status.json").read_bytes()
        except FileNotFoundError:
            return None
        return ServiceStatus.model_validate_json(content)

    def statuses(self) -> list[ServiceStatus]:
        """Status of every service."""
        names = sorted(path.parent.name for path in self._services.glob("*/status.json"))
        return [status for name in names if (status := self.status(name))]

    def withdraw(self, service: str) -> None:
        """Stop serving; requests in progress are answered first."""
        (self._services / service / "release.json").unlink(missing_ok=True)

    def endpoint(self, service: str) -> str | None:
        """The service at the router, or None when nothing serves."""
        status = self.status(service)
        return status.url if status and status.serving else None


def predict(url: str | None, inputs: list[Any], patience_s: float = 0.0) -> dict[str, Any]:
    """Answer of a service; one that proxies do not know yet is asked again for so long.

    Raises DeploymentFailed when there is none.
    """
    if url is None:
        raise DeploymentFailed("the service does not serve: somebody withdrew it")
    end = time.monotonic() + patience_s
    while True:
        try:
            answer = httpx.post(url, json={"inputs": inputs}, timeout=10)
            answer.raise_for_status()
            return answer.json()
        except httpx.HTTPError as error:
            if time.monotonic() > end or not _may_pass(error):
                raise DeploymentFailed(f"{url} does not answer: {error}") from error
        time.sleep(POLL_S)


def _may_pass(error: httpx.HTTPError) -> bool:
    """Whether it is an error of proxies that have not heard of the service, not of the service."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in NOT_KNOWN_YET
    return isinstance(error, httpx.TransportError)
