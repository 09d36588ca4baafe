"""Values the API server fills in where a manifest leaves them out."""

import copy
import itertools
from typing import Any

from tests.cluster.double.api.resource_types import Object, ResourceType
from tests.cluster.double.api.validation import custom_schema

_service_numbers = itertools.count(1)


def _fill(target: Object, **values: Any) -> None:
    for key, value in values.items():
        target.setdefault(key, value)


def _pod_spec(spec: Object) -> None:
    _fill(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        securityContext={},
        enableServiceLinks=True,
    )
    for container in (spec.get("containers") or []) + (spec.get("initContainers") or []):
        image = container.get("image") or ""
        pull = "Always" if image.endswith(":latest") or ":" not in image else "IfNotPresent"
        _fill(
            container,
            imagePullPolicy=pull,
            terminationMessagePath="/dev/termination-log",
            terminationMessagePolicy="File",
            resources={},
        )
        resources = container["resources"]
        if limits := resources.get("limits"):
            resources["requests"] = {**limits, **(resources.get("requests") or {})}
        for port in container.get("ports") or []:
            _fill(port, protocol="TCP")
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            if result := container.get(probe):
                values = {"timeoutSeconds": 1, "periodSeconds": 10, "failureThreshold": 3}
                _fill(result, successThreshold=1, **values)


def _pod(item: Object) -> None:
    _pod_spec(item["spec"])
    _fill(item["spec"], serviceAccountName="default", tolerations=[])
    if not item["spec"].get("priority"):
        item["spec"]["priority"] = 0
    _fill(item, status={"phase": "Pending", "qosClass": "Burstable"})


def _job(item: Object) -> None:
    spec = item["spec"]
    _fill(spec, backoffLimit=6, suspend=False, completionMode="NonIndexed")
    _fill(spec, podReplacementPolicy="TerminatingOrFailed")
    if "parallelism" not in spec and "completions" not in spec:
        spec["completions"] = 1
    _fill(spec, parallelism=1)
    if not spec.get("manualSelector") and not spec.get("selector"):
        uid, name = item["metadata"]["uid"], item["metadata"]["name"]
        meta = spec["template"].setdefault("metadata", {})
        meta["labels"] = {
            **(meta.get("labels") or {}),
            "controller-uid": uid,
            "job-name": name,
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
        }
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    _pod_spec(spec["template"]["spec"])
    _fill(item, status={})


def _deployment(item: Object) -> None:
    spec = item["spec"]
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    rolling = {"maxUnavailable": "25%", "maxSurge": "25%"}
    _fill(spec, strategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    _pod_spec(spec["template"]["spec"])
    _fill(item, status={})


def _replica_set(item: Object) -> None:
    _fill(item["spec"], replicas=1)
    _pod_spec(item["spec"]["template"]["spec"])
    _fill(item, status={"replicas": 0})


def _service(item: Object) -> None:
    spec = item.setdefault("spec", {})
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName" and not spec.get("clusterIP"):
        number = next(_service_numbers)
        spec["clusterIP"] = f"10.96.{number // 250 % 250}.{number % 250 + 1}"
    for port in spec.get("ports") or []:
        _fill(port, protocol="TCP", targetPort=port["port"])
    _fill(item, status={"loadBalancer": {}})


def _namespace(item: Object) -> None:
    labels = item["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = item["metadata"]["name"]
    _fill(item, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})


def _secret(item: Object) -> None:
    _fill(item, type="Opaque")


def _claim(item: Object) -> None:
    _fill(item, status={"phase": "Bound"})


def _quota(item: Object) -> None:
    _fill(item, status={})


_BUILT_IN = {
    "Pod": _pod,
    "Job": _job,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "Service": _service,
    "Namespace": _namespace,
    "Secret": _secret,
    "PersistentVolumeClaim": _claim,
    "ResourceQuota": _quota,
}


def _structural(schema: Object, value: Any) -> None:
    if isinstance(value, list):
        for each in value:
            _structural(schema.get("items") or {}, each)
    if not isinstance(value, dict):
        return
    for name, part in (schema.get("properties") or {}).items():
        if "default" in part and name not in value:
            value[name] = copy.deepcopy(part["default"])
        if name in value:
            _structural(part, value[name])
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for each in value.values():
            _structural(extra, each)


def fill_defaults(resource: ResourceType, item: Object) -> None:
    """Completes the object in place; what a manifest of the wrong shape lacks stays lacking."""
    if resource.custom:
        schema = (custom_schema(resource) or {}).get("properties") or {}
        for part in ("spec", "status"):
            if item.get(part):
                _structural(schema.get(part) or {}, item[part])
        return
    try:
        _BUILT_IN.get(resource.kind, lambda _: None)(item)
    except (KeyError, TypeError, AttributeError):
        return
