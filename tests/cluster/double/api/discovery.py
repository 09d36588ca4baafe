"""Documents by which clients discover what the server serves."""

from tests.cluster.double.api.authorization import AUTHENTICATION, AUTHORIZATION, REVIEWS
from tests.cluster.double.api.errors import ApiError, not_found
from tests.cluster.double.api.resource_types import (
    RESOURCE_TYPES,
    Object,
    ResourceType,
    custom_resource_definition,
)
from tests.cluster.double.api.validation import SERVER_VERSION

CRD_GROUP = "apiextensions.k8s.io"
CRD_PLURAL = "customresourcedefinitions"

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def version_info() -> Object:
    """Answer of /version."""
    major, minor = SERVER_VERSION.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{SERVER_VERSION}.2",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2025-06-17T00:00:00Z",
        "goVersion": "go1.24.4",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def _groups() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for resource in RESOURCE_TYPES:
        if resource.group:
            known = groups.setdefault(resource.group, [])
            known += [version for version in resource.versions if version not in known]
    return {**groups, **{name: ["v1"] for name in (CRD_GROUP, AUTHORIZATION, AUTHENTICATION)}}


def api_versions() -> Object:
    """Answer of /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{each}", "version": each} for each in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def api_group(name: str) -> Object | None:
    """Answer of /apis/GROUP."""
    if name not in _groups():
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, _groups()[name])}


def api_groups() -> Object:
    """Answer of /apis."""
    groups = [_group(name, versions) for name, versions in _groups().items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _entries(resource: ResourceType) -> list[Object]:
    entry = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _VERBS,
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    entries = [entry]
    parts = ["status"] * resource.status + ["scale"] * resource.scale
    parts += ["log", "eviction"] * (resource.kind == "Pod")
    for part in parts:
        kind = {"scale": "Scale", "eviction": "Eviction"}.get(part, resource.kind)
        name = f"{resource.plural}/{part}"
        entries.append({**entry, "name": name, "kind": kind, "verbs": ["get", "patch", "update"]})
        entries[-1].pop("shortNames", None)
        if part == "scale":
            entries[-1].update(group="autoscaling", version="v1")
    return entries


def api_resources(group: str, version: str) -> Object | None:
    """Answer of /api/v1 and /apis/GROUP/VERSION."""
    entries = [
        entry
        for resource in RESOURCE_TYPES
        if resource.group == group and version in resource.versions
        for entry in _entries(resource)
    ]
    if (group, version) == (CRD_GROUP, "v1"):
        entries.append(
            {
                "name": CRD_PLURAL,
                "singularName": "customresourcedefinition",
                "shortNames": ["crd", "crds"],
                "namespaced": False,
                "kind": "CustomResourceDefinition",
                "verbs": ["get", "list"],
            }
        )
    for plural, (review_group, kind) in REVIEWS.items():
        if (group, version) == (review_group, "v1"):
            is_local = kind.startswith("Local")
            review = {"name": plural, "singularName": kind.lower(), "namespaced": is_local}
            entries.append({**review, "kind": kind, "verbs": ["create"]})
    if not entries:
        return None
    name = f"{group}/{version}" if group else version
    document = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name}
    return {**document, "resources": entries}


def custom_resource_definitions() -> dict[str, Object]:
    """The served CustomResourceDefinitions by name."""
    return {
        resource.qualified: custom_resource_definition(resource)
        for resource in RESOURCE_TYPES
        if resource.custom
    }


def discover(group: str, version: str = "") -> Object:
    """Answer of /api, /apis/GROUP, and of a group's versions."""
    document = api_group(group) if group else api_versions()
    if version:
        document = api_resources(group, version)
    if document is None:
        raise ApiError(404, "the server could not find the requested resource")
    return document


def definitions(name: list[str]) -> Object:
    """The CustomResourceDefinition of the name, or all of them."""
    result = custom_resource_definitions()
    if name:
        if name[0] not in result:
            raise not_found(f"{CRD_PLURAL}.{CRD_GROUP}", name[0])
        return result[name[0]]
    return {
        "apiVersion": f"{CRD_GROUP}/v1",
        "kind": "CustomResourceDefinitionList",
        "metadata": {"resourceVersion": "1"},
        "items": list(result.values()),
    }


def of_another_server(group: str, version: str) -> Object:
    """Answer of a version of an API that an APIService hands to another server."""
    pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics"}
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}",
        "resources": [{**pods, "verbs": ["get", "list"]}],
    }


def openapi_index() -> Object:
    """Answer of /openapi/v3."""
    paths = {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}
    for group, versions in _groups().items():
        for version in versions:
            path = f"apis/{group}/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}"}
    return {"paths": paths}


def openapi(group: str, version: str) -> Object:
    """The operations of a group version, as far as kubectl asks about them."""
    paths: Object = {}
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    for resource in RESOURCE_TYPES:
        if resource.group == group and version in resource.versions:
            scope = "/namespaces/{namespace}" if resource.namespaced else ""
            kind = {"group": group, "version": version, "kind": resource.kind}
            operation = {
                "parameters": parameters,
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-group-version-kind": kind,
            }
            paths[f"{root}{scope}/{resource.plural}"] = {
                "post": {**operation, "x-kubernetes-action": "post"}
            }
            paths[f"{root}{scope}/{resource.plural}/{{name}}"] = {
                "put": {**operation, "x-kubernetes-action": "put"},
                "patch": {**operation, "x-kubernetes-action": "patch"},
            }
    info = {"title": "Kubernetes", "version": f"v{SERVER_VERSION}.2"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
