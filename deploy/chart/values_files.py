"""`values.yaml` and its schema."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from textwrap import wrap
from typing import Any

import yaml

from deploy.chart.compositions import KUBERNETES
from deploy.chart.declared import SUMMARIES
from deploy.chart.differences import Charted
from deploy.chart.expressions import image_name, image_parts, images
from deploy.chart.templates import section, switch
from deploy.chart.tree import OnlyWith, found, path_of
from deploy.chart.values import SETTINGS, STRING, SWITCH, Value

_DIGEST = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}
_BEGIN = """\
# Written by `make chart`; its sources are deploy/kubernetes and deploy/chart/declared.py. Do not
# edit: set what you change in a file of your own, and `helm install --values FILE`.
"""


def completed(values: Iterable[Value], things: list[Charted], components: list[str]) -> list[Value]:
    """The values with their defaults, and those that follow from images and components."""
    known = [replace(value, default=_default(value, things)) for value in values]
    sections = {section(name): name for name in components}
    results = [value for value in known if value.section not in sections]
    results += _image_values(things)
    for named, component in sections.items():
        results.append(Value(switch(component), _summary(component), SWITCH, default=False))
        results += [value for value in known if value.section == named]
    return results


def _default(value: Value, things: list[Charted]) -> Any:
    if value.key is not None:
        return value.default
    for thing in things:
        for place in value.places:
            if place.is_of(thing.kind, thing.name):
                for node in found(thing.tree, path_of(place.path)):
                    return node
        if value.variable and (thing.kind, thing.name) == ("ConfigMap", SETTINGS):
            node = thing.tree["data"].get(value.variable, value.default)
            return node.node if isinstance(node, OnlyWith) else node
    return value.default


def _image_values(things: list[Charted]) -> Iterator[Value]:
    named = {image_name(i): image_parts(i) for t in things for i in images(t.tree, t.kind)}
    for name in sorted(
        named, key=lambda name: (not named[name]["repository"].startswith("orrery/"), name)
    ):
        parts = named[name]
        tag = "Version of the chart where it is empty." if not parts["tag"] else ""
        yield Value(
            f"images.{name}.repository", "", {**STRING, "minLength": 1}, default=parts["repository"]
        )
        yield Value(f"images.{name}.tag", tag, STRING, default=parts["tag"])
        yield Value(f"images.{name}.digest", "", _DIGEST, default="")


def _summary(component: str) -> str:
    if component in SUMMARIES:
        return SUMMARIES[component]
    lines = (KUBERNETES / "components" / component / "kustomization.yaml").read_text().splitlines()
    told = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return " ".join(told)


def values_file(values: Iterable[Value]) -> str:
    """Text of `values.yaml`."""
    lines, last = [], ()
    for value in values:
        *parents, key = value.name.split(".")
        shared = _shared(last, parents)
        if not shared:
            lines.append("")
        for depth in range(shared, len(parents)):
            lines.append(f"{'  ' * depth}{parents[depth]}:")
        pad = "  " * len(parents)
        lines += [f"{pad}# {line}" for line in wrap(value.comment, 96 - len(pad))]
        lines += _entry(key, value.default, pad)
        last = tuple(parents)
    return _BEGIN + "".join(f"{line}\n" for line in lines)


def _shared(last: tuple[str, ...], parents: list[str]) -> int:
    depth = 0
    while depth < min(len(last), len(parents)) and last[depth] == parents[depth]:
        depth += 1
    return depth


def _entry(key: str, default: Any, pad: str) -> list[str]:
    text = yaml.safe_dump({key: default}, sort_keys=False, width=10**6)
    return [f"{pad}{line}" for line in text.splitlines()]


def schema_file(values: Iterable[Value]) -> str:
    """Text of `values.schema.json`: it refuses what is not one of the values."""
    root = _closed()
    root = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Orrery", **root}
    root["properties"]["global"] = {"type": "object"}
    for value in values:
        *parents, key = value.name.split(".")
        inner = root
        for parent in parents:
            inner = inner["properties"].setdefault(parent, _closed())
        told = {"description": value.comment} if value.comment else {}
        inner["properties"][key] = {**told, **value.schema}
    return json.dumps(root, indent=2) + "\n"


def _closed() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}
