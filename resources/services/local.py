"""The service runtime on one machine: deployments are files that the reconciler reads.

timeout: `deploy` waits `READY_WITHIN_S` for the new version, besides the canary's own steps; a
    deployment that takes longer is stopped.
retry: the reconciler starts a dying process again with growing pauses; a version that does not
    start three times, or that answers with errors, is rolled back. A driver that was killed leaves
    its deployment, which goes on, and its retry follows it.
cancel: an interrupted driver stops its deployment: all traffic returns to the version before.
duplicate: a deployment equal to the running one changes nothing. Of two deployments at once the
    one that was requested later wins, and the driver of the other raises Superseded.
partial write: a deployment is renamed into place.
"""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx

from engine import lease
from engine.protocol import write_atomically
from resources.compute.contract import ANY, NOBODY, Driver
from resources.compute.requirements import Requirements
from resources.services.in_use import InUse, in_folder
from serving.contract import STOP, Deployment, ServiceStatus, StopOrder

READY_WITHIN_S = 120.0
ABSENT_WITHIN_S = 30.0
"""How long a reconciler that is being started anew is waited for."""
POLL_S = 0.05
NOT_KNOWN_YET = (404, 502, 503, 504)


class RuntimeAbsent(Exception):
    """No reconciler is at work, so nothing can be served."""


class DeploymentFailed(Exception):
    """The new version did not take over; the earlier one still has the traffic."""


class Superseded(DeploymentFailed):
    """Another version of the service was deployed later, or the service was undeployed."""


class Runtime(Protocol):
    """What steps need of the place where services run."""

    request_logs: Path

    def bento_home(self, workdir: Path) -> Path:
        """Folder of the BentoML store that a packaging job with this work directory uses."""
        ...

    def deploy(
        self,
        deployment: Deployment,
        on_change: Callable[[ServiceStatus], None],
        requirements: Requirements = ANY,
        driver: Driver = NOBODY,
    ) -> ServiceStatus:
        """Status once the deployment has all traffic.

        Raises DeploymentFailed, Superseded, RuntimeAbsent, or OSError. Interrupted by a driver that
        is cancelled, it gives all traffic back to the version before.
        """
        ...

    def status(self, service: str) -> ServiceStatus | None:
        """What the service has reached, or None."""
        ...

    def statuses(self) -> list[ServiceStatus]:
        """Status of every service."""
        ...

    def stop(self, service: str, run: str) -> None:
        """Stop the deployment of the service that the dagster_run has requested, if it goes on.

        For a driver that cannot do it: it was killed before it was cancelled. Raises OSError. A
        gateway of a cluster leaves it to `end_abandoned`.
        """
        ...

    def end_abandoned(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """Services whose deployment goes on although nobody waits for the dagster_run that has
        requested it, and that is stopped now."""
        ...

    def in_use(self) -> list[InUse]:
        """Every version that must not lose what it answers with. Raises OSError or ValueError."""
        ...

    def undeploy(self, service: str) -> None:
        """Stop serving."""
        ...

    def endpoint(self, service: str) -> str | None:
        """Address of predictions for processes of the platform, or None when nothing answers."""
        ...

    def endpoints(self, service: str) -> dict[str, int]:
        """Percent of the requests that processes of the platform send to each address."""
        ...


class LocalRuntime:
    """Writes deployments for the reconciler, and waits for what it reaches."""

    def __init__(self, services: Path, request_logs: Path) -> None:
        self._services = services
        self.request_logs = request_logs

    def bento_home(self, workdir: Path) -> Path:
        """Folder of the BentoML store, which all services share."""
        return self._services.parent / "bentoml"

    def deploy(
        self,
        deployment: Deployment,
        on_change: Callable[[ServiceStatus], None],
        requirements: Requirements = ANY,
        driver: Driver = NOBODY,
    ) -> ServiceStatus:
        """Status once the deployment has all traffic; of the needs nothing is used here.

        Raises RuntimeAbsent when no reconciler runs (the deployment is kept for when one does),
        Superseded when another deployment is later, DeploymentFailed when it was rolled back or did
        not become ready in time. Interrupted, it stops the deployment.
        """
        folder, run = self._services / deployment.service, driver.run or uuid.uuid4().hex
        try:
            return self._follow(folder, self._write(folder, deployment, run), on_change)
        except (DeploymentFailed, RuntimeAbsent, OSError):
            # The deployment was refused already, or a reconciler or a retry goes on with it.
            raise
        except BaseException:
            self.stop(deployment.service, run)
            raise

    def _write(self, folder: Path, deployment: Deployment, run: str) -> Deployment:
        """The deployment as the reconciler gets it. Raises Superseded."""
        folder.mkdir(parents=True, exist_ok=True)
        # Two drivers that compare at the same time would both find theirs to be the later one.
        with lease.alone(folder / ".lock"):
            present = _read(folder)
            asked_at = deployment.asked_at or time.time()
            if present is not None and present.asked_at > asked_at:
                raise Superseded(
                    f"{deployment.service} {deployment.version} gives way to {present.version}, "
                    "which was deployed later"
                )
            request = self._request(present, run)
            deployed = deployment.model_copy(update={"asked_at": asked_at, "request": request})
            write_atomically(folder / "deployment.json", deployed.model_dump_json(indent=2))
        return deployed

    def _request(self, present: Deployment | None, run: str) -> str:
        """Identity of the request: that of the driver, unless its deployment was refused before."""
        if present is None or _run_of(present) != run:
            return run
        status = self.status(present.service)
        is_refused = status and status.state == "rolled_back" and status.request == present.request
        return f"{run}/{uuid.uuid4().hex[:8]}" if is_refused else present.request

    def _follow(
        self, folder: Path, deployment: Deployment, on_change: Callable[[ServiceStatus], None]
    ) -> ServiceStatus:
        patience_s = READY_WITHIN_S + deployment.step_s * len(deployment.canary)
        end, seen, heard = time.monotonic() + patience_s, None, float("-inf")
        while (now := time.monotonic()) < end:
            if lease.holder(self._services) is not None:
                heard = now
            elif now - heard > ABSENT_WITHIN_S:
                raise RuntimeAbsent(
                    f"no reconciler is running, so {deployment.service} {deployment.version} is "
                    "packaged but does not serve; start `orrery up`, which takes it up, and "
                    "materialise this again"
                )
            present = _require_current(_read(folder), deployment)
            status = self.status(deployment.service)
            if status is not None and status.request == present.request:
                # The counts in `answering` grow with every request, which is no news of the
                # deployment.
                bare = status.model_copy(update={"answering": []})
                if bare != seen:
                    on_change(status)
                    seen = bare
                if status.state == "rolled_back":
                    raise DeploymentFailed(f"{deployment.service}: {status.message}")
                if status.state == "serving":
                    return status
            time.sleep(POLL_S)
        reason = f"{deployment.version} did not serve within {patience_s:.0f} s"
        self._stop(folder, deployment, reason)
        raise DeploymentFailed(
            f"{deployment.service}: {reason}, so its deployment was stopped; see the logs in "
            f"{folder / 'logs'}"
        )

    def _stop(self, folder: Path, deployment: Deployment, reason: str) -> None:
        """Have the reconciler give all traffic back to the version before."""
        order = StopOrder(request=deployment.request, reason=reason)
        write_atomically(folder / STOP, order.model_dump_json())

    def stop(self, service: str, run: str) -> None:
        """Stop the deployment of the service that the dagster_run has requested, if it goes on."""
        folder = self._services / service
        present = _read(folder)
        if present is not None and _run_of(present) == run:
            self._stop(folder, present, f"the deployment of {present.version} was stopped")

    def end_abandoned(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """None: whoever stops a dagster_run stops its deployment at once."""
        return []

    def status(self, service: str) -> ServiceStatus | None:
        """What the reconciler has reached, or None when it knows no such service."""
        try:
            content = (self._services / service / "status.json").read_bytes()
        except FileNotFoundError:
            return None
        status = ServiceStatus.model_validate_json(content)
        if status.answering and lease.holder(self._services) is None:
            # The router and all replicas ended with the reconciler.
            return status.model_copy(update={"answering": [], "replicas": []})
        return status

    def statuses(self) -> list[ServiceStatus]:
        """Status of every service."""
        names = sorted(path.parent.name for path in self._services.glob("*/status.json"))
        return [status for name in names if (status := self.status(name))]

    def in_use(self) -> list[InUse]:
        """What is deployed, and what the reconciler has noted of rollouts."""
        return in_folder(self._services)

    def undeploy(self, service: str) -> None:
        """Stop serving; requests in progress are answered first."""
        folder = self._services / service
        if not folder.exists():
            return
        with lease.alone(folder / ".lock"):
            (folder / "deployment.json").unlink(missing_ok=True)
            (folder / STOP).unlink(missing_ok=True)

    def endpoint(self, service: str) -> str | None:
        """The service at the router, or None when nothing answers."""
        return next(iter(self.endpoints(service)), None)

    def endpoints(self, service: str) -> dict[str, int]:
        """The service at the router, which knows the shares; nothing where no version answers."""
        status = self.status(service)
        return {status.url: 100} if status and status.answering else {}


def _read(folder: Path) -> Deployment | None:
    """The deployment in the folder, or None."""
    try:
        return Deployment.model_validate_json((folder / "deployment.json").read_bytes())
    except FileNotFoundError:
        return None


def _run_of(deployment: Deployment) -> str:
    """The driver that the request is from."""
    return deployment.request.partition("/")[0]


def _require_current(present: Deployment | None, deployment: Deployment) -> Deployment:
    """The present deployment, which asks for the same as this one. Raises Superseded."""
    if present is None:
        raise Superseded(f"{deployment.service} was undeployed")
    same = present.model_copy(
        update={"request": deployment.request, "asked_at": deployment.asked_at}
    )
    if same != deployment:
        raise Superseded(
            f"{deployment.service} {deployment.version} gives way to {present.version}, which was "
            "deployed later"
        )
    return present


def answer_to_example(
    url: str | None, model_version: int, patience_s: float = 0.0
) -> dict[str, Any]:
    """What the model version at the address of predictions answers to its own example.

    The example is a page of its own (`/example`), so it is no request of a client and is not
    logged. A service that proxies do not know yet, or where another version has a share of the
    traffic, is called again for so long. Raises DeploymentFailed when there is no answer.
    """
    if url is None:
        raise DeploymentFailed("the service does not answer: it was undeployed")
    page = f"{url.removesuffix('/predict')}/example"
    end = time.monotonic() + patience_s
    with httpx.Client(timeout=10) as client:
        while True:
            try:
                answer = client.get(page).raise_for_status().json()
                if answer["model_version"] == model_version:
                    return answer
                problem = f"answers with version {answer['model_version']} of the model"
            except (httpx.HTTPError, ValueError) as error:
                problem = f"does not answer: {error}"
                if not _may_pass(error):
                    raise DeploymentFailed(f"{page} {problem}") from error
            if time.monotonic() > end:
                raise DeploymentFailed(f"{page} {problem}, expected version {model_version}")
            time.sleep(POLL_S)


def _may_pass(error: Exception) -> bool:
    """Whether it is an error of proxies that do not know the service yet, not of the service."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in NOT_KNOWN_YET
    return isinstance(error, httpx.TransportError)
