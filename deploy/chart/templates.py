"""Text of Helm templates."""

import re
from typing import Any

import yaml

from deploy.chart.tree import Either, IfGiven, Include, NotCharted, Of, OnlyWith, Text

_FIRST = ("apiVersion", "kind", "metadata", "name", "namespace")
_ELSE, _END = "{{- else }}", "{{- end }}"


def document(thing: dict[str, Any], conditions: list[str]) -> list[str]:
    """Lines of an object, which is there where every value of the conditions is true."""
    inner = ["---", *_entries(thing, "")]
    for condition in conditions:
        inner = [f"{{{{- if .Values.{condition} }}}}", *inner, _END]
    return inner


def joined(lines: list[str]) -> str:
    """Text of the lines, in which blocks of the same condition that follow each other are one."""
    results: list[str] = []
    open_blocks: list[str] = []
    closed = ""
    for line in lines:
        if closed and line == closed:
            results.pop()
            open_blocks.append(line)
        elif line == _END:
            closed = open_blocks.pop()
            results.append(line)
            continue
        else:
            results.append(line)
            if line.startswith(("{{- if", "{{- with")):
                open_blocks.append(line)
            elif line == _ELSE:
                open_blocks[-1] = ""
        closed = ""
    return "".join(f"{line}\n" for line in results)


def mapping(node: dict[str, Any]) -> list[str]:
    """Lines of a mapping."""
    return _entries(node, "")


def switch(component: str) -> str:
    """Name of the value that enables a component."""
    return f"{section(component)}.enabled"


def section(component: str) -> str:
    """What the values call a component."""
    first, *rest = component.split("-")
    return first + "".join(word.capitalize() for word in rest)


def _entries(node: dict[str, Any], pad: str) -> list[str]:
    ordered = sorted(node, key=lambda key: (key not in _FIRST, key))
    return [line for key in ordered for line in _entry(key, node[key], pad)]


def _entry(key: str, node: Any, pad: str) -> list[str]:
    named = f"{pad}{scalar(key)}:"
    match node:
        case OnlyWith(component, inner):
            lines = _if(component, _entry(key, inner, pad))
        case Either(component, enabled, disabled):
            others = [_ELSE, *_entry(key, disabled, pad)]
            lines = _if(component, [*_entry(key, enabled, pad), *others])
        case IfGiven(value, is_structure):
            written = _written(named, ".", is_structure, pad)
            lines = [f"{{{{- with .Values.{value} }}}}", *written, _END]
        case Of(value, is_structure):
            lines = _written(named, f".Values.{value}", is_structure, pad)
        case Include(template):
            lines = [named, f'{{{{- include "{template}" . | nindent {len(pad) + 2} }}}}']
        case dict() if node:
            lines = [named, *_entries(node, pad + "  ")]
        case list() if node:
            lines = [named, *_items(node, pad + "  ")]
        case str() if "\n" in node:
            lines = _block(named, node, pad + "  ")
        case _:
            lines = [f"{named} {_inline(node)}"]
    return lines


def _if(component: str, lines: list[str]) -> list[str]:
    return [f"{{{{- if .Values.{switch(component)} }}}}", *lines, _END]


def _written(named: str, expression: str, is_structure: bool, pad: str) -> list[str]:
    if not is_structure:
        return [f"{named} {{{{ toJson {expression} }}}}"]
    return [named, f"{{{{- toYaml {expression} | nindent {len(pad) + 2} }}}}"]


def _items(node: list[Any], pad: str) -> list[str]:
    results = []
    for item in node:
        if isinstance(item, IfGiven):
            more = f"{{{{- toYaml . | nindent {len(pad)} }}}}"
            results += [f"{{{{- with .Values.{item.value} }}}}", more, _END]
        elif isinstance(item, dict | list) and item:
            inner = pad + "  "
            lines = _entries(item, inner) if isinstance(item, dict) else _items(item, inner)
            results += _begun(lines, pad)
        elif isinstance(item, str) and "\n" in item:
            results += _block(f"{pad}-", item, pad + "  ")
        else:
            results.append(f"{pad}- {_inline(item)}")
    return results


def _begun(lines: list[str], pad: str) -> list[str]:
    if lines[0].startswith("{{"):
        return [f"{pad}-", *lines]
    return [f"{pad}- {lines[0].lstrip()}", *lines[1:]]


def _block(named: str, text: str, pad: str) -> list[str]:
    sign = "|" if text.endswith("\n") else "|-"
    lines = [f"{pad}{line}" if line else "" for line in _plain(text).rstrip("\n").split("\n")]
    return [f"{named} {sign}", *lines]


def _inline(node: Any) -> str:
    match node:
        case Text(template):
            return f'"{template}"'
        case Of(value, False):
            return f"{{{{ toJson .Values.{value} }}}}"
        case Of() | IfGiven() | OnlyWith() | Either():
            raise NotCharted(f"{node} is an item of a list; expected it below a key")
    return scalar(node)


def scalar(node: Any) -> str:
    """A scalar, or an empty mapping or list, as YAML in one line."""
    text = yaml.safe_dump(node, width=10**6, default_flow_style=True)
    return _plain(re.sub(r"\n(\.\.\.\n)?$", "", text))


def _plain(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')
