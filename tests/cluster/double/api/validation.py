"""Validation of objects: names, schemas of built-in kinds, and schemas of custom resources."""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from tests.cluster.double.api.errors import invalid
from tests.cluster.double.api.resource_types import Object, ResourceType

SERVER_VERSION = "1.33"
SCHEMAS_VARIABLE = "ORRERY_CRD_SCHEMAS"

_SCHEMA_FOLDER = f"kubernetes-json-schema/v{SERVER_VERSION}.0-local-strict"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAMED = {"Service", "Namespace"}
_PATH_NAMED = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
_REPORTED_ERRORS = 5


@cache
def _definitions() -> Resource[Any]:
    return Resource.from_contents(
        schema_contents(f"{_SCHEMA_FOLDER}/_definitions.json", SERVER_VERSION)
    )


@cache
def _built_in(resource: ResourceType) -> Draft202012Validator:
    group = resource.group.partition(".")[0]
    parts = [resource.kind.lower(), group, resource.versions[0]]
    name = "-".join(filter(None, parts))
    schema = schema_contents(f"{_SCHEMA_FOLDER}/{name}.json", SERVER_VERSION)
    registry = Resource.from_contents(schema) @ (_definitions() @ Registry())
    return Draft202012Validator(schema, registry=registry)


def _strict(schema: Any, top: bool = False) -> Any:
    """The schema with unknown fields refused, which JSON Schema alone would let pass."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed: dict[str, Any] = {
        key: {name: _strict(each) for name, each in value.items()}
        if key == "properties"
        else _strict(value)
        for key, value in schema.items()
        if key not in ("default", "enum", "example")
    }
    if "enum" in schema:
        closed["enum"] = schema["enum"]
    opened = schema.get("x-kubernetes-preserve-unknown-fields")
    embedded = schema.get("x-kubernetes-embedded-resource")
    named = "properties" in schema and "additionalProperties" not in schema
    if named and schema.get("type") == "object" and not (opened or embedded):
        closed["additionalProperties"] = False
    if schema.get("nullable"):
        closed = {"anyOf": [closed, {"type": "null"}]}
    if top:
        closed.get("properties", {}).update(apiVersion={}, kind={}, metadata={})
    return closed


@cache
def _custom_schema(folder: str, resource: ResourceType) -> Object | None:
    path = Path(folder, f"{resource.group}_{resource.versions[0]}_{resource.kind}.json")
    return json.loads(path.read_text())["openAPIV3Schema"] if path.is_file() else None


@cache
def _custom(folder: str, resource: ResourceType) -> Draft202012Validator | None:
    schema = _custom_schema(folder, resource)
    return Draft202012Validator(_strict(schema, top=True)) if schema else None


def custom_schema(resource: ResourceType) -> Object | None:
    """The structural schema of a custom type, where the environment names its folder."""
    folder = os.environ.get(SCHEMAS_VARIABLE)
    return _custom_schema(folder, resource) if folder and resource.custom else None


def _validator(resource: ResourceType) -> Draft202012Validator | None:
    if not resource.custom:
        return _built_in(resource)
    folder = os.environ.get(SCHEMAS_VARIABLE)
    return _custom(folder, resource) if folder else None


def _cause(error: ValidationError) -> tuple[str, str]:
    field = ""
    for part in error.absolute_path:
        field += f"[{part}]" if isinstance(part, int) else f".{part}"
    message = error.message
    if error.validator == "required":
        message = f"Required value: {message}"
    elif error.validator == "additionalProperties":
        message = f"unknown field: {message}"
    else:
        message = f"Invalid value: {message}"
    return field.lstrip("."), message


def _name_causes(resource: ResourceType, name: str) -> list[tuple[str, str]]:
    if resource.kind in _PATH_NAMED:
        sound = bool(name) and not re.search(r"[/%]", name)
        rule, limit = "a path segment name", 253
    elif resource.kind in _LABEL_NAMED:
        sound = bool(_LABEL.fullmatch(name))
        rule, limit = "a lowercase RFC 1123 label", 63
    else:
        sound = bool(_SUBDOMAIN.fullmatch(name))
        rule, limit = "a lowercase RFC 1123 subdomain", 253
    if resource.kind == "Job":
        limit = 63
    if sound and len(name) <= limit:
        return []
    message = f"Invalid value: {name!r}: must be {rule} of no more than {limit} characters"
    return [("metadata.name", message)]


def _label_causes(labels: dict[str, str]) -> list[tuple[str, str]]:
    return [
        ("metadata.labels", f"Invalid value: {key}={value!r}")
        for key, value in labels.items()
        if not _LABEL_KEY.fullmatch(key)
        or not isinstance(value, str)
        or not _LABEL_VALUE.fullmatch(value)
    ]


def validate(resource: ResourceType, item: Object) -> None:
    """Raises Invalid with its causes unless names, labels, and schema hold."""
    name = item["metadata"]["name"]
    causes = _name_causes(resource, name)
    causes += _label_causes(item["metadata"].get("labels") or {})
    validator = _validator(resource)
    if validator and not causes:
        for error in validator.iter_errors(item):
            causes.append(_cause(error))
            if len(causes) == _REPORTED_ERRORS:
                break
    if causes:
        raise invalid(resource.kind, name, causes)


_POD_MUTABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations")


def _pod_template(item: Object) -> Object:
    spec = {key: value for key, value in item["spec"].items() if key not in _POD_MUTABLE}
    for field in ("containers", "initContainers"):
        spec[field] = [{**each, "image": ""} for each in spec.get(field) or []]
    if not spec.get("nodeName"):
        spec.pop("nodeName", None)
    return spec


def _frozen(resource: ResourceType, old: Object, new: Object) -> dict[str, tuple[Any, Any]]:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    match resource.kind:
        case "Pod" if before.get("nodeName"):
            return {"spec": (_pod_template(old), _pod_template(new))}
        case "Job":
            fields = ["completions", "selector"]
            if not before.get("suspend") or (old.get("status") or {}).get("startTime"):
                fields.append("template")
        case "Deployment" | "ReplicaSet" | "StatefulSet":
            fields = ["selector"]
        case "Service":
            fields = ["clusterIP"]
        case _:
            fields = []
    return {f"spec.{field}": (before.get(field), after.get(field)) for field in fields}


def validate_change(resource: ResourceType, old: Object, new: Object) -> None:
    """Raises Invalid where an immutable field changes."""
    causes = [
        (field, "Invalid value: field is immutable")
        for field, (before, after) in _frozen(resource, old, new).items()
        if before != after
    ]
    if causes:
        raise invalid(resource.kind, new["metadata"]["name"], causes)
