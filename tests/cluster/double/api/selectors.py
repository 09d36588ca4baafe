"""Label and field selectors."""

import re
from collections.abc import Callable
from typing import Any

from tests.cluster.double.api.errors import ApiError

Test = Callable[[dict[str, Any]], bool]

_SET = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^)]*)\)$")
_EQUALITY = re.compile(r"^([^\s=!]+)\s*(==|=|!=)\s*(\S*)$")
_COMMA = re.compile(r",(?![^(]*\))")


def _label_requirement(text: str) -> Test:
    if result := _SET.match(text):
        key, operator, listed = result.groups()
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if result := _EQUALITY.match(text):
        key, operator, value = result.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if text.startswith("!"):
        key = text[1:].strip()
        return lambda labels: key not in labels
    if re.fullmatch(r"[\w./-]+", text):
        return lambda labels: text in labels
    raise ApiError(400, f"unable to parse requirement: {text!r}")


def label_selector(text: str | None) -> Test:
    """Whether an object's labels satisfy a selector as a query string writes it."""
    parts = [part.strip() for part in _COMMA.split(text or "") if part.strip()]
    requirements = [_label_requirement(part) for part in parts]

    def test(item: dict[str, Any]) -> bool:
        labels = item["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return test


def lookup(item: Any, path: str) -> Any:
    """Value under a dotted path, or None."""
    for key in path.split("."):
        item = item.get(key) if isinstance(item, dict) else None
    return item


def field_selector(text: str | None) -> Test:
    """Whether an object's fields satisfy a field selector."""
    requirements: list[tuple[str, str, str]] = []
    for part in filter(None, (text or "").split(",")):
        result = re.match(r"^([^=!]+)(==|=|!=)(.*)$", part.strip())
        if not result:
            raise ApiError(400, f"invalid field selector: {part!r}")
        requirements.append((result[1], result[2], result[3]))

    def test(item: dict[str, Any]) -> bool:
        return all(
            (str(lookup(item, path) or "") == value) is (operator != "!=")
            for path, operator, value in requirements
        )

    return test


def match_expressions(labels: dict[str, str], expressions: list[dict[str, Any]]) -> bool:
    """Whether labels satisfy every expression of a selector object."""

    def holds(each: dict[str, Any]) -> bool:
        key, values = each["key"], each.get("values") or []
        return {
            "In": lambda: labels.get(key) in values,
            "NotIn": lambda: labels.get(key) not in values,
            "Exists": lambda: key in labels,
            "DoesNotExist": lambda: key not in labels,
            "Gt": lambda: key in labels and int(labels[key]) > int(values[0]),
            "Lt": lambda: key in labels and int(labels[key]) < int(values[0]),
        }[each["operator"]]()

    return all(holds(each) for each in expressions)


def matches(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """Whether labels satisfy a selector object; an empty one matches everything."""
    selector = selector or {}
    wanted = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and match_expressions(
        labels, selector.get("matchExpressions") or []
    )
