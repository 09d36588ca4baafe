"""The cluster that KUBECONFIG names: a namespace for each test, and what the tests need of it."""

import json
import os
import uuid
from pathlib import Path
from typing import Any, Self

import pytest

from engine.bucket import Bucket
from tests import buckets
from tests.cluster.double.api.resource_types import BY_KIND, Object
from tests.waiting import until

# Not KUBECONFIG alone: plain tests must never reach whichever cluster a shell points at.
IS_REAL = bool(os.environ.get("ORRERY_TEST_CLUSTER") and os.environ.get("KUBECONFIG"))
STUCK_S = 60.0 if IS_REAL else 1.0
"""Time after which tests have a pod given up whose image cannot be pulled."""
NAME_LABEL = "app.kubernetes.io/name"
_OPERATORS = {
    "kuberay": ("ray.io", f"{NAME_LABEL} in (kuberay-operator,kuberay)"),
    "kueue": ("kueue.x-k8s.io", f"{NAME_LABEL} in (kueue)"),
    "keda": ("keda.sh", f"{NAME_LABEL} in (keda-operator)"),
}
_GONE_WITHIN_S = 300.0
_FAULTS = "needs a fault that only the double makes"

needs_faults = pytest.mark.skipif(IS_REAL, reason=_FAULTS)


def only_double(reason: str) -> pytest.MarkDecorator:
    """Skips a test on a real cluster, for the reason."""
    return pytest.mark.skipif(IS_REAL, reason=reason)


def from_environment(variable: str, of_double: str) -> str:
    """On a real cluster the variable's value, without which the test is skipped."""
    if not IS_REAL:
        return of_double
    if not (told := os.environ.get(variable)):
        pytest.skip(f"{variable} is not set; docs/operations.md, Tests on a cluster, tells of it")
    return told


def image(part: str) -> str:
    """The image of `control`, `training` or `serving`, with the tests in it."""
    return from_environment(f"ORRERY_TEST_IMAGE_{part.upper()}", f"orrery-{part}")


class Emptied:
    """A bucket's part for the tests, which is empty afterwards."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        if IS_REAL:
            root = from_environment("ORRERY_TEST_BUCKET", "")
            self.url = f"{root.rstrip('/')}/{uuid.uuid4().hex[:8]}"
        else:
            self.url = buckets.make_bucket(patch)

    def __enter__(self) -> str:
        return self.url

    def __exit__(self, *_: object) -> None:
        if IS_REAL:
            bucket = Bucket(self.url)
            bucket.delete([key for key, _ in bucket.walk()])


def variables_of_the_bucket() -> dict[str, str]:
    """What pods need to reach the bucket."""
    names = ("AWS_", "ORRERY_BUCKET_")
    return {name: value for name, value in os.environ.items() if name.startswith(names)}


class RealGateway:
    """A Gateway that is there, and its address."""

    def __init__(self) -> None:
        self.name = from_environment("ORRERY_TEST_GATEWAY", "")
        self.url = from_environment("ORRERY_TEST_SERVICES_URL", "").rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """It stays."""


class _OfTheDouble:
    """A part of the double that a real cluster does not have: whoever uses it is skipped."""

    def __getattr__(self, name: str) -> Any:
        pytest.skip(_FAULTS)


class RemoteApi:
    """Reads and writes objects as the double's own client does, over HTTP."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client, self.namespace = client, namespace
        self._created: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        # A fault, or the record of requests.
        pytest.skip(_FAULTS)

    def heal(self) -> None:
        """There are no faults."""

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """The object."""
        return self._call("GET", kind, name, namespace)

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None."""
        from kubernetes.client import ApiException

        try:
            return self.get(kind, name, namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return None

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
    ) -> list[Object]:
        """Objects of a namespace; `*` means all namespaces."""
        query = {"labelSelector": labels or "", "fieldSelector": fields or ""}
        listed = self._call("GET", kind, "", namespace, query=query)
        resource = BY_KIND[kind]
        whole = {"apiVersion": resource.api_version, "kind": kind}
        return [{**whole, **item} for item in listed["items"]]

    def create(self, item: Object, namespace: str | None = None) -> Object:
        """Creates the object in its own or the given namespace."""
        where = item["metadata"].get("namespace") or namespace
        created = self._call("POST", item["kind"], "", where, body=item)
        if not BY_KIND[item["kind"]].namespaced:
            self._created.append((item["kind"], created["metadata"]["name"]))
        return created

    def patch(self, kind: str, name: str, patch: Object, namespace: str | None = None) -> Object:
        """Merges the patch (RFC 7396) into the object."""
        return self._call("PATCH", kind, name, namespace, body=patch)

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        grace_s: int | None = None,
        policy: str | None = None,
    ) -> None:
        """Deletes the object; one that is gone is fine. Of the whole cluster's, only its own."""
        from kubernetes.client import ApiException

        is_own = BY_KIND[kind].namespaced or (kind, name) in self._created
        assert is_own, f"the tests did not create {kind} {name}, so they do not delete it"
        options = {"gracePeriodSeconds": grace_s, "propagationPolicy": policy}
        body = {key: value for key, value in options.items() if value is not None}
        try:
            self._call("DELETE", kind, name, namespace, body=body)
        except ApiException as error:
            if error.status != 404:
                raise

    def clean(self) -> None:
        """Takes away what was created outside of namespaces, and waits until it is gone."""
        for kind, name in reversed(self._created):
            self.delete(kind, name)
        for kind, name in self._created:
            until(lambda kind=kind, name=name: self.find(kind, name) is None, _GONE_WITHIN_S)

    def _call(
        self,
        method: str,
        kind: str,
        name: str,
        namespace: str | None,
        query: dict[str, str] | None = None,
        body: Object | None = None,
    ) -> Any:
        resource = BY_KIND[kind]
        root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.api_version}"
        scope = ""
        if resource.namespaced and namespace != "*":
            scope = f"/namespaces/{namespace or self.namespace}"
        path = f"{root}{scope}/{resource.plural}" + (f"/{name}" if name else "")
        sent = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self._client.call_api(
            path,
            method,
            query_params=[(key, value) for key, value in (query or {}).items() if value],
            header_params={"Accept": "application/json", "Content-Type": sent},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=60,
        )
        return json.loads(answer.data)


class RealCluster:
    """A fresh namespace of a cluster. It has no handles for faults.

    At its end the namespace is gone with all that was in it, and so is what tests created outside
    of namespaces by `api`.
    """

    def __init__(self, path: Path) -> None:
        from kubernetes import client, config

        self.kubeconfig = path
        self.namespace = f"test-{uuid.uuid4().hex[:8]}"
        api_client = config.new_client_from_config(str(path))
        self._groups = client.ApisApi(api_client)
        self.api = RemoteApi(api_client, self.namespace)
        self.kubelet = self.kueue = self.kuberay = _OfTheDouble()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self.api.create(namespace)

    def require(self, capability: str) -> None:
        """Skips the test unless the cluster has the capability and its controller runs."""
        if capability == "faults":
            pytest.skip(_FAULTS)
        group, selector = _OPERATORS[capability]
        if group not in {each.name for each in self._groups.get_api_versions().groups}:
            pytest.skip(f"this cluster has no {capability}: it does not serve {group}")
        operators = self.api.list("Deployment", "*", labels=selector)
        if not any(each.get("status", {}).get("readyReplicas") for each in operators):
            pytest.skip(f"{capability} does not run: no Deployment with {selector} is ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Queues of the whole cluster go when the workloads of the namespace have gone.
        self.api.delete("Namespace", self.namespace)
        until(lambda: self.api.find("Namespace", self.namespace) is None, _GONE_WITHIN_S)
        self.api.clean()
