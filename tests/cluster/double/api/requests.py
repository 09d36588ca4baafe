"""Requests to the API, taken apart, and their answers."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.resource_types import BY_PATH, Object, ResourceType


@dataclass
class Request:
    """One HTTP request to a resource, taken apart."""

    method: str
    path: list[str]
    query: dict[str, str]
    content_type: str
    body: bytes

    def flag(self, name: str) -> bool:
        """Whether a query parameter is switched on."""
        return self.query.get(name, "").lower() in ("1", "true")

    def document(self) -> Any:
        """The body as JSON or YAML."""
        if not self.body:
            return {}
        try:
            if "yaml" in self.content_type:
                return yaml.safe_load(self.body)
            return json.loads(self.body)
        except (ValueError, yaml.YAMLError) as error:
            raise ApiError(400, f"the body of the request is malformed: {error}") from error


@dataclass
class Stream:
    """An answer that goes on until its source or its client ends it."""

    content_type: str
    chunks: Callable[[Any], Iterator[bytes]]
    stop: Callable[[], None]


@dataclass
class Target:
    """The resource, object, and subresource a request is about."""

    resource: ResourceType
    version: str
    namespace: str
    name: str
    subresource: str


Answer = tuple[int, Object] | Stream


def target(path: list[str]) -> Target | None:
    """What the path names, or None where no resource is served there."""
    group, rest = ("", path[1:]) if path[0] == "api" else (path[1], path[2:])
    version, rest = rest[0], rest[1:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and (group, version, rest[2]) in BY_PATH:
        namespace, rest = rest[1], rest[2:]
    resource = BY_PATH.get((group, version, rest[0])) if rest else None
    if resource is None:
        return None
    name, subresource = [*rest[1:3], "", ""][:2]
    return Target(resource, version, namespace, name, subresource)
