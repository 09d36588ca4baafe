"""Callbacks: signed messages to addresses that requests named, sent to public addresses alone.

timeout: `TIMEOUT_S` for the whole exchange.
retry: with growing pauses (scheduler.deliveries); the receiver tells repeats by the message's id.
cancel: a message that is being sent when the process ends is sent again.
duplicate: at least once; the same id at every attempt.
partial write: a message is owed in the transaction of the change that it tells of.
"""

import asyncio
import json
import time
from datetime import UTC, datetime

import httpx
from sqlalchemy import Connection
from standardwebhooks.webhooks import Webhook
from starlette.concurrency import run_in_threadpool

from accounts import organizations
from api.context import Platform
from api.jobs.callback_addresses import AddressRefused, networks, reachable
from resources.database.control import ControlUnavailable
from scheduler import deliveries
from scheduler.deliveries import Delivery
from scheduler.jobs import Job
from scheduler.states import Status

TIMEOUT_S = 15.0
EVENTS: frozenset[Status] = frozenset({"running", "succeeded", "failed", "stopped"})
"""States whose beginning a callback reports."""


class Callbacks:
    """Sends what is owed."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._allowed = networks(platform.gateway.private_networks)

    async def send(self, delivery: Delivery) -> None:
        """One attempt, whose outcome is recorded."""
        status, error = None, ""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await self._post(delivery)
            if not httpx.codes.is_success(status):
                error = f"answered {status}"
        except (AddressRefused, httpx.HTTPError, OSError, TimeoutError, ValueError) as failure:
            error = str(failure) or type(failure).__name__
        try:
            await run_in_threadpool(self._settle, delivery, status, error)
        except ControlUnavailable:
            return  # Its claim lapses, and it is sent again under the same id.

    async def _post(self, delivery: Delivery) -> int:
        url = httpx.URL(delivery.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await reachable(url.host, port, self._allowed)
        headers = await run_in_threadpool(self._signed, delivery)
        # The connection goes to the address that was checked; a name could resolve anew.
        target = url.copy_with(host=str(address))
        # A proxy would resolve the name again, and a redirect could lead to a private address.
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
            answer = await client.post(
                target,
                content=delivery.body.encode(),
                headers={**headers, "Host": url.netloc.decode(), "User-Agent": "orrery"},
                # The certificate is checked against the name, although an address is connected to.
                extensions={"sni_hostname": url.host},
                timeout=TIMEOUT_S,
            )
        return answer.status_code

    def _signed(self, delivery: Delivery) -> dict[str, str]:
        with self._platform.control.read() as connection:
            organization = organizations.find(connection, delivery.organization_id)
        generation = organization.callback_generation if organization else 1
        secret = self._platform.secret.callback_secret(delivery.organization_id, generation)
        now = datetime.now(UTC)
        return {
            "Content-Type": "application/json",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(delivery.id, now, delivery.body),
        }

    def _settle(self, delivery: Delivery, status: int | None, error: str) -> None:
        with self._platform.control.write() as connection:
            deliveries.settle(connection, delivery, status, error)


def owe(connection: Connection, job: Job, platform: Platform) -> None:
    """Owe the message that the job has come to its state, where its request named an address."""
    if job.callback and job.status in EVENTS:
        event = f"job.{job.status}"
        body = body_of(event, job, platform)
        deliveries.owe(connection, job.organization_id, job.id, job.callback, event, body)


def body_of(event: str, job: Job, platform: Platform) -> str:
    """What a callback says, in the form of Standard Webhooks."""
    body = {
        "job_id": job.id,
        "kind": job.kind,
        "project": platform.projects.shown(job.project),
        "name": job.name,
        "status": job.status,
        "message": job.message,
        "verdict": job.verdict,
        "made": job.result or None,
        "failure": job.failure,
    }
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"type": event, "timestamp": at, "data": body})
