"""The four kinds of patches a client may send."""

import copy
from typing import Any

from tests.cluster.double.api.errors import ApiError

_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "ports": ("containerPort", "port"),
    "podIPs": ("ip",),
    "addresses": ("type",),
}
_ATOMIC = {"tolerations", "args", "command"}
_SETS = {"finalizers"}


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: null deletes, lists are replaced."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _merge_key(field: str, items: list[Any]) -> str | None:
    if field in _ATOMIC or not items or not all(isinstance(item, dict) for item in items):
        return None
    for key in (*_MERGE_KEYS.get(field, ()), "name"):
        if all(key in item or "$patch" in item for item in items):
            return key
    return None


def _merge_lists(target: list[Any], patch: list[Any], field: str) -> list[Any]:
    if field in _SETS:
        return target + [item for item in patch if item not in target]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    key = _merge_key(field, patch)
    if key is None:
        return copy.deepcopy(patch)
    merged = copy.deepcopy(target)
    for item in patch:
        place = next((i for i, old in enumerate(merged) if old.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if place is not None:
                merged.pop(place)
        elif place is None:
            merged.append(strategic_merge({}, item))
        else:
            merged[place] = strategic_merge(merged[place], item)
    return merged


def strategic_merge(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Kubernetes' merge: lists whose elements have a merge key are merged element by element."""
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    merged = dict(target)
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            merged[field] = [item for item in merged.get(field) or [] if item not in value]
        elif key == "$retainKeys" or key.startswith("$setElementOrder/"):
            continue
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            if value.get("$patch") == "delete":
                merged.pop(key, None)
            else:
                merged[key] = strategic_merge(merged.get(key) or {}, value)
        elif isinstance(value, list):
            merged[key] = _merge_lists(merged.get(key) or [], value, key)
        else:
            merged[key] = value
    if retained := patch.get("$retainKeys"):
        merged = {key: value for key, value in merged.items() if key in retained}
    return merged


def _resolve(document: Any, pointer: str) -> tuple[Any, str]:
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in parents:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document, last


def _read(document: Any, pointer: str) -> Any:
    parent, key = _resolve(document, pointer)
    return parent[int(key)] if isinstance(parent, list) else parent[key]


def _remove(document: Any, pointer: str) -> Any:
    parent, key = _resolve(document, pointer)
    return parent.pop(int(key) if isinstance(parent, list) else key)


def _add(document: Any, pointer: str, value: Any) -> None:
    parent, key = _resolve(document, pointer)
    if isinstance(parent, list):
        parent.insert(len(parent) if key == "-" else int(key), value)
    else:
        parent[key] = value


def json_patch(target: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 6902."""
    document = copy.deepcopy(target)
    for operation in operations:
        path = operation["path"]
        try:
            match operation["op"]:
                case "add":
                    _add(document, path, operation["value"])
                case "remove":
                    _remove(document, path)
                case "replace":
                    _remove(document, path)
                    _add(document, path, operation["value"])
                case "move":
                    _add(document, path, _remove(document, operation["from"]))
                case "copy":
                    _add(document, path, copy.deepcopy(_read(document, operation["from"])))
                case "test" if _read(document, path) != operation["value"]:
                    raise ApiError(422, f"testing value {path} failed")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            message = f"the server rejected our request due to an error in our request: {path}"
            raise ApiError(422, message) from error
    return document


def apply_patch(target: dict[str, Any], previous: Any, applied: dict[str, Any]) -> dict[str, Any]:
    """Server-side apply: what the manager applied before and no longer names goes away."""
    merged = _without(target, previous, applied) if isinstance(previous, dict) else target
    return merge_patch(merged, applied)


def _without(target: Any, previous: dict[str, Any], applied: dict[str, Any]) -> dict[str, Any]:
    kept = dict(target)
    for key, value in previous.items():
        if key not in kept:
            continue
        if key not in applied:
            kept.pop(key)
        elif all(isinstance(each, dict) for each in (value, applied[key], kept[key])):
            kept[key] = _without(kept[key], value, applied[key])
    return kept
