"""What `deploy/kubernetes` holds: rendered like `kubectl apply -k`, judged like the API server."""

import copy
import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.doctor.cluster.rights import Right
from resources.kubernetes_api.kinds import KINDS, group_of
from resources.settings import CHECKOUT

KUBERNETES = CHECKOUT / "deploy" / "kubernetes"
OVERLAYS = sorted(folder.name for folder in (KUBERNETES / "overlays").iterdir())
COMPONENTS = sorted(folder.name for folder in (KUBERNETES / "components").iterdir())
VERSION = "1.37"
CRD_GROUPS = ("ray.io", "kueue.x-k8s.io", "gateway.networking.k8s.io", "keda.sh")
POD_MONITOR = {
    "apiVersion": {"const": "monitoring.coreos.com/v1"},
    "kind": {"const": "PodMonitor"},
    "metadata": {"type": "object"},
    "spec": {
        "type": "object",
        "required": ["selector", "podMetricsEndpoints"],
        "properties": {
            "selector": {
                "type": "object",
                "required": ["matchLabels"],
                "properties": {
                    "matchLabels": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                    }
                },
            },
            "podMetricsEndpoints": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["port"],
                    "properties": {
                        "port": {"type": "string"},
                        "path": {"type": "string", "pattern": "^/"},
                        "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
                    },
                },
            },
        },
    },
}
"""What is used of the Prometheus Operator's kind, whose schema is not at hand."""
CONTROLLERS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


@functools.cache
def overlay(name: str) -> tuple[dict[str, Any], ...]:
    """Objects of an overlay."""
    return rendered(KUBERNETES / "overlays" / name)


def rendered(folder: Path) -> tuple[dict[str, Any], ...]:
    """Objects of a kustomization; the test is skipped where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH, so nothing can be rendered")
    ended = subprocess.run(
        ["kubectl", "kustomize", str(folder)], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return tuple(yaml.safe_load_all(ended.stdout))


def documented(word: str) -> str:
    """The patches of an overlay that the documentation tells, among which the word is."""
    text = (CHECKOUT / "docs" / "kubernetes.md").read_text()
    blocks = re.findall(r"```yaml\n(patches:\n.*?)```", text, re.DOTALL)
    (result,) = [block for block in blocks if word in block]
    return result


def composed(folder: Path, *components: str, patches: str = "") -> tuple[dict[str, Any], ...]:
    """Objects of the base with components, as an overlay in the empty folder would have them."""
    paths = {
        "resources": [KUBERNETES / "base"],
        "components": [KUBERNETES / "components" / name for name in components],
    }
    listing = {k: [os.path.relpath(p, folder.resolve()) for p in v] for k, v in paths.items()}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(listing) + patches)
    return rendered(folder)


def resource_files() -> list[Path]:
    """Files of whole objects: what a kustomization lists as its resources."""
    results = []
    for listing in sorted(KUBERNETES.rglob("kustomization.yaml")):
        named = yaml.safe_load(listing.read_text()).get("resources", [])
        results += [listing.parent / name for name in named if name.endswith(".yaml")]
    return results


def check(thing: dict[str, Any]) -> None:
    """Raise unless the object is what its kind allows, without a field that it does not know."""
    group = thing["apiVersion"].rpartition("/")[0]
    if group == "monitoring.coreos.com":
        schema = {"type": "object", "required": [*POD_MONITOR], "properties": POD_MONITOR}
        jsonschema.Draft202012Validator(_closed(schema)).validate(thing)
    elif group not in CRD_GROUPS:
        kubernetes_validate.validate(thing, VERSION, strict=True)
    elif schema := _crd_schema(thing["apiVersion"], thing["kind"]):
        schema.validate(thing)


def has_crd_schemas() -> bool:
    """Whether kinds that are not Kubernetes' own can be judged here."""
    return bool(os.environ.get("ORRERY_CRD_SCHEMAS"))


@functools.cache
def _crd_schema(api_version: str, kind: str) -> jsonschema.Draft202012Validator | None:
    folder = os.environ.get("ORRERY_CRD_SCHEMAS")
    if not folder:
        return None
    file = Path(folder, f"{api_version.replace('/', '_')}_{kind}.json")
    schema = json.loads(file.read_text())["openAPIV3Schema"]
    return jsonschema.Draft202012Validator(_closed(schema))


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every field that it does not name refused, as with `--validate=strict`."""
    closed = copy.copy(schema)
    if "properties" in schema:
        closed["properties"] = {k: _closed(v) for k, v in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    for within in ("items", "additionalProperties"):
        if isinstance(schema.get(within), dict):
            closed[within] = _closed(schema[within])
    return closed


def pods(things: tuple[dict[str, Any], ...]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each object that makes pods, with the template of its pods."""
    for thing in things:
        if thing["kind"] in CONTROLLERS:
            spec = thing["spec"]
            yield thing, spec.get("jobTemplate", thing)["spec"]["template"]


def containers(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Every container of a pod."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def of_kind(things: tuple[dict[str, Any], ...], kind: str) -> list[dict[str, Any]]:
    """Objects of one kind."""
    return [thing for thing in things if thing["kind"] == kind]


def the(things: tuple[dict[str, Any], ...], kind: str, name: str) -> dict[str, Any]:
    """The object of that kind and name."""
    (result,) = [t for t in of_kind(things, kind) if t["metadata"]["name"] == name]
    return result


def allows(role: dict[str, Any], right: Right) -> bool:
    """Whether a rule of the role gives the right."""
    group, plural = group_of(right.kind), KINDS[right.kind][1]
    resource = "/".join(filter(None, (plural, right.subresource)))
    return any(
        group in rule["apiGroups"] and resource in rule["resources"] and right.verb in rule["verbs"]
        for rule in role["rules"]
    )


def named_by_pods(things: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, str]]:
    """Kind and name of everything that pods cannot do without."""
    for _, template in pods(things):
        spec = template["spec"]
        yield "ServiceAccount", spec.get("serviceAccountName", "default")
        if "priorityClassName" in spec:
            yield "PriorityClass", spec["priorityClassName"]
        for volume in spec["volumes"]:
            if "configMap" in volume and not volume["configMap"].get("optional"):
                yield "ConfigMap", volume["configMap"]["name"]
            if "secret" in volume:
                yield "Secret", volume["secret"]["secretName"]
        for container in containers(template):
            yield from _sources(container)


def _sources(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom", []):
        for reference, named in source.items():
            yield {"secretRef": "Secret", "configMapRef": "ConfigMap"}[reference], named["name"]
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]


def named_by_others(things: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, str]]:
    """Kind and name of everything that routes, gateways, scalers and bindings ask for."""
    yield from _named_by_traffic(things)
    for scaler in of_kind(things, "HorizontalPodAutoscaler"):
        yield "Deployment", scaler["spec"]["scaleTargetRef"]["name"]
    for binding in of_kind(things, "RoleBinding"):
        yield "Role", binding["roleRef"]["name"]
        for subject in binding["subjects"]:
            yield "ServiceAccount", subject["name"]


def _named_by_traffic(things: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, str]]:
    for gateway in of_kind(things, "Gateway"):
        for listener in gateway["spec"]["listeners"]:
            for certificate in listener["tls"]["certificateRefs"]:
                yield "Secret", certificate["name"]
    for route in of_kind(things, "HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            yield "Gateway", parent["name"]
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                yield "Service", backend["name"]
