"""The strings of manifests that depend on the release: namespace, images, host, names."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from deploy.chart.tree import Either, OnlyWith, Text

NAMESPACE = "orrery"
RELEASE = "{{ .Release.Namespace }}"
WIDE_KINDS = ("ClusterQueue", "ResourceFlavor", "PriorityClass")
_NAMESPACES = {NAMESPACE: RELEASE, f"{NAMESPACE}-builds": f"{RELEASE}-builds"}
_HOLD_NAMESPACES = re.compile(
    r"(?:.*/)?(?:namespace|ORRERY_CLUSTER_(?:BUILD_)?NAMESPACE|kubernetes\.io/metadata\.name)"
    r"|Namespace/metadata/name"
)
_HOLD_IMAGES = re.compile(r"(?:.*/)?image|.*/ORRERY_CLUSTER_\w+_IMAGE")
_HOLD_WIDE_NAMES = re.compile(r".*/(?:clusterQueue|priorityClassName|flavors/\*/name)")
_HOLD_HOSTS = re.compile(
    r"HTTPRoute/spec/hostnames/\*|Ingress/spec/(?:rules/\*/host|tls/\*/hosts/\*)"
)
_HOST = '{{ include "orrery.host" . }}'


def image_name(image: str) -> str:
    """What the values call an image: the last part of its repository."""
    return image_parts(image)["repository"].rpartition("/")[2]


def image_parts(image: str) -> dict[str, str]:
    """Repository, tag and digest of an image, as the values tell them."""
    rest, _, digest = image.partition("@")
    repository, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = rest, ""
    return {"repository": repository, "tag": tag, "digest": digest}


def images(node: Any, where: str = "") -> Iterator[str]:
    """Every image that manifests name."""
    for path, leaf in leaves(node, where):
        if isinstance(leaf, str) and _HOLD_IMAGES.fullmatch(path):
            yield leaf


def leaves(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Scalars with their paths, in which items of lists are `*`."""
    if isinstance(node, OnlyWith):
        yield from leaves(node.node, where)
    elif isinstance(node, Either):
        yield from leaves(node.enabled, where)
        yield from leaves(node.disabled, where)
    elif isinstance(node, dict):
        for key, inner in node.items():
            yield from leaves(inner, f"{where}/{key}")
    elif isinstance(node, list):
        for inner in node:
            yield from leaves(inner, f"{where}/*")
    else:
        yield where, node


def with_expressions(node: Any, where: str) -> Any:
    """The tree with expressions in the place of what depends on the release.

    `where` begins with the kind of the object.
    """
    if isinstance(node, OnlyWith):
        return replace(node, node=with_expressions(node.node, where))
    if isinstance(node, Either):
        enabled, disabled = (with_expressions(n, where) for n in (node.enabled, node.disabled))
        return Either(node.component, enabled, disabled)
    if isinstance(node, dict):
        return {k: with_expressions(v, f"{where}/{k}") for k, v in node.items()}
    if isinstance(node, list):
        return [with_expressions(inner, f"{where}/*") for inner in node]
    return _expression(node, where) if isinstance(node, str) else node


def _expression(text: str, where: str) -> str | Text:
    kind, key = where.split("/", 1)[0], where.rpartition("/")[2]
    if _HOLD_NAMESPACES.fullmatch(where):
        return Text(_NAMESPACES[text]) if text in _NAMESPACES else text
    if _HOLD_IMAGES.fullmatch(where):
        return Text(f'{{{{ include "orrery.image" (list . "{image_name(text)}") }}}}')
    if _HOLD_HOSTS.fullmatch(where):
        return Text(_HOST)
    if _HOLD_WIDE_NAMES.fullmatch(where) or (
        kind in WIDE_KINDS and where.endswith("metadata/name")
    ):
        return Text(re.sub(f"^{NAMESPACE}", "{{ .Values.clusterWide.name }}", text))
    named = text.replace(f".{NAMESPACE}.svc", f".{RELEASE}.svc")
    if key == "ORRERY_CLUSTER_GATEWAY":
        named = re.sub(f"^{NAMESPACE}/", f"{RELEASE}/", named)
    return Text(named) if named != text else text
