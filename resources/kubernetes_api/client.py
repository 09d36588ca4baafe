"""The adapter to a Kubernetes cluster: objects as the API writes them, in one namespace.

Everything is read anew when it is asked for. Nothing is watched, so that no broken watch can lose
what happened.

timeout: `CALL_S` a call, `BRIEF_S` where somebody waits for the answer.
retry: 429, 500, 502, 503, 504 and broken connections are tried again up to `ATTEMPTS` times with
    growing pauses, or when `Retry-After` says; then ClusterUnavailable.
cancel: a call is one request; nothing is left when it is interrupted.
duplicate: objects have names of their own choice: a second `create` raises AlreadyThere, `apply`
    gives the object the same content, `delete` of what is gone does nothing.
partial write: the API stores an object whole or not at all.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from resources.kubernetes_api.kinds import CLUSTER_WIDE, KINDS
from resources.kubernetes_api.settings import ClusterSettings

CALL_S = 30
BRIEF_S = 5
ATTEMPTS = 6
LONGEST_PAUSE_S = 10.0
PASSING = (429, 500, 502, 503, 504)
PAGE = 500
MANAGER = "orrery"
JSON = "application/json, */*"
FORBIDDEN = 403
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
LOADING = threading.Lock()


class ClusterUnavailable(OSError):
    """The API server does not answer; the same call may work later."""


class ClusterRefused(Exception):
    """The API server refuses what was asked for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AlreadyThere(ClusterRefused):
    """An object of that name exists, or has changed since it was read."""


class NotThere(ClusterRefused):
    """There is no such object, or no such kind."""


class Cluster:
    """Objects of one namespace."""

    def __init__(
        self, settings: ClusterSettings, attempts: int = ATTEMPTS, call_s: float | None = None
    ) -> None:
        self.settings, self.namespace = settings, settings.namespace
        self._attempts, self._call_s = attempts, call_s

    def within(self, namespace: str) -> "Cluster":
        """The same cluster's objects in another namespace."""
        settings = self.settings.model_copy(update={"namespace": namespace})
        return Cluster(settings, self._attempts, self._call_s)

    def once(self) -> "Cluster":
        """The same objects, asked for with one attempt a call: for whoever asks again anyway."""
        return Cluster(self.settings, attempts=1)

    def brief(self) -> "Cluster":
        """The same objects, asked for with one attempt of `BRIEF_S`: for whoever answers a person,
        who may ask again."""
        return Cluster(self.settings, attempts=1, call_s=BRIEF_S)

    def create(self, thing: Mapping[str, Any]) -> dict[str, Any]:
        """The new object. Raises AlreadyThere, ClusterRefused or ClusterUnavailable."""
        return self._call("POST", self._path(thing["kind"]), body=thing)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object, or None."""
        try:
            return self._call("GET", self._path(kind, name))
        except NotThere:
            return None

    def has(self, kind: str, name: str) -> bool:
        """Whether there is such an object; its content is not asked for."""
        path = self._path(kind, name)
        try:
            self._request("GET", path, {}, None, "application/json", accept=METADATA_ONLY)
        except NotThere:
            return False
        return True

    def keys(self, kind: str, name: str) -> frozenset[str] | None:
        """Names of the entries of a ConfigMap or Secret, whose values are dropped; None where it
        is not there."""
        thing = self.get(kind, name)
        return None if thing is None else frozenset(thing.get("data") or ())

    def find(
        self, kind: str, labels: str = "", fields: str = "", *, everywhere: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Objects with the labels, as a selector writes them; `everywhere`: of all namespaces."""
        path = "/".join(KINDS[kind]) if everywhere else self._path(kind)
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": PAGE, "continue": ""}
        while True:
            page = self._call("GET", path, {k: v for k, v in query.items() if v})
            yield from page["items"]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return

    def apply(self, thing: Mapping[str, Any]) -> dict[str, Any]:
        """The object, which now has this content; made where it was not (server-side apply)."""
        path = self._path(thing["kind"], thing["metadata"]["name"])
        query = {"fieldManager": MANAGER, "force": "true"}
        return self._call("PATCH", path, query, thing, "application/apply-patch+yaml")

    def merge(self, kind: str, name: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """The object with the change merged in (RFC 7386). Raises NotThere."""
        return self._call(
            "PATCH", self._path(kind, name), {}, change, "application/merge-patch+json"
        )

    def delete(self, kind: str, name: str) -> None:
        """Remove the object and what it owns; one that is gone is no error."""
        try:
            # By default the API deletes a Job and leaves its pods.
            self._call("DELETE", self._path(kind, name), {"propagationPolicy": "Background"})
        except NotThere:
            return

    def log(self, pod: str, lines: int = 50) -> str:
        """Last lines of a pod's container; empty where it never ran."""
        try:
            path = f"{self._path('Pod', pod)}/log"
            return self._request("GET", path, {"tailLines": lines}, None, "").decode(
                errors="replace"
            )
        except ClusterRefused:
            return ""

    def events(self, name: str) -> list[str]:
        """What the cluster says of the object of this name, oldest first."""
        events = sorted(
            self.find("Event", fields=f"involvedObject.name={name}"),
            key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "",
        )
        return [f"{e.get('reason', '')}: {e.get('message', '')}" for e in events]

    def serves(self, kind: str) -> bool:
        """Whether the cluster knows the kind in the version that is used here."""
        prefix, plural = KINDS[kind]
        return plural in self.resources_of(prefix)

    def resources_of(self, prefix: str) -> set[str]:
        """Plurals of what the cluster serves below a version of an API, such as `apis/batch/v1`.

        Raises ClusterUnavailable where the API is another server's, which does not answer."""
        try:
            return {each["name"] for each in self._call("GET", prefix)["resources"]}
        except NotThere:
            return set()

    def version(self) -> tuple[int, int]:
        """Major and minor version of the API server."""
        document = self._call("GET", "version")
        # Some providers append a sign, such as `31+`.
        return int(document["major"]), int("".join(c for c in document["minor"] if c.isdigit()))

    def _path(self, kind: str, name: str = "") -> str:
        prefix, plural = KINDS[kind]
        within = "" if kind in CLUSTER_WIDE else f"/namespaces/{self.namespace}"
        return f"{prefix}{within}/{plural}" + (f"/{name}" if name else "")

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> dict[str, Any]:
        return json.loads(self._request(method, path, query or {}, body, kind))

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Any,
        kind: str,
        accept: str = JSON,
    ) -> bytes:
        """What the API answers, after as many attempts as passing errors need."""
        problem = ""
        for attempt in range(self._attempts):
            answer, problem = self._once(method, path, query, body, kind, accept)
            if answer is not None and answer.status < 400:
                return answer.data
            if answer is not None and answer.status not in PASSING:
                raise _refusal(answer.status, f"{method} {path}", answer.data)
            if attempt + 1 < self._attempts:
                time.sleep(_pause_s(attempt, answer))
        raise ClusterUnavailable(
            f"the Kubernetes API did not do {method} {path} in {self._attempts} attempts: {problem}"
        )

    def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Any,
        kind: str,
        accept: str,
    ) -> tuple[Any, str]:
        """Answer and problem of one attempt."""
        import urllib3
        from kubernetes.client.rest import ApiException

        headers = {"Accept": accept, "Content-Type": kind}
        try:
            answer = self._client.call_api(
                f"/{path}",
                method,
                query_params=list(query.items()),
                header_params=headers if kind else {"Accept": "*/*"},
                body=body,
                # The client sends its token only with calls that ask for it.
                auth_settings=["BearerToken"],
                # Otherwise the client makes objects of the answer, and of a log the text `b'...'`.
                _preload_content=False,
                _request_timeout=self._call_s or CALL_S,
            )
            return answer, ""
        except ApiException as error:
            answer = _Answer(error)
            return answer, f"{error.status} {error.reason}"
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return None, f"{type(error).__name__}: {error}"

    @cached_property
    def _client(self) -> Any:
        from kubernetes import client, config

        with LOADING:
            configuration = client.Configuration()
            if self.settings.kubeconfig:
                config.load_kube_config(
                    str(self.settings.kubeconfig), client_configuration=configuration
                )
            else:
                config.load_incluster_config(client_configuration=configuration)
            # Retries are here, where they know what may be repeated.
            configuration.retries = False  # pyright: ignore[reportAttributeAccessIssue]
            return client.ApiClient(configuration)


class _Answer:
    """An answer that the client has raised."""

    def __init__(self, error: Any) -> None:
        body = error.body or b""
        # Without a status there was no answer, which may pass.
        self.status: int = error.status or 503
        self.data: bytes = body if isinstance(body, bytes) else str(body).encode()
        self.headers: Mapping[str, str] = error.headers or {}


def _refusal(status: int, what: str, body: bytes) -> ClusterRefused:
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")[:500]
    kind = {404: NotThere, 409: AlreadyThere}.get(status, ClusterRefused)
    return kind(status, f"the Kubernetes API refused {what} ({status}): {message}")


def _pause_s(attempt: int, answer: Any) -> float:
    """Seconds before the next attempt: what the server asks for, or doubling from 0.2 s."""
    header = answer.headers.get("Retry-After", "") if answer is not None else ""
    return min(float(header) if header.isdigit() else 0.2 * 2**attempt, LONGEST_PAUSE_S)
