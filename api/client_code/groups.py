"""The client's methods: a class for each group of operations, a method for each operation."""

from collections.abc import Iterable
from textwrap import indent, wrap
from typing import Any

from pydantic.fields import FieldInfo

from api.client_code.answers import HEADER, answer_of
from api.client_code.types import Used, imports, module_of, name_of, source
from api.operations.operation import HEADERS, KEY_FIELD, Operation, item_type
from api.problems import ALWAYS

KEY_TEXT = (
    "The same key again gets the same answer, and nothing is done twice. By default a new one."
)
WIDTH = 86


def modules(operations: Iterable[Operation]) -> dict[str, str]:
    """Source of the module of each group, by its name."""
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(operation.group, []).append(operation)
    return {
        **{name: _module(name, members) for name, members in groups.items()},
        "__init__": _all(groups),
    }


def class_of(group: str) -> str:
    """Name of the class of the group."""
    return f"{group.capitalize()}Operations"


def method_of(operation: Operation) -> str:
    """Name of the operation's method."""
    return operation.verb.replace("-", "_")


def _all(groups: Iterable[str]) -> str:
    lines = [HEADER.format(about="Every operation of the platform, by group.")]
    lines += [f"from orrery.operations.{g} import {class_of(g)}" for g in groups]
    lines += ["from orrery.connection import Connection", "class Operations:"]
    body = ['"""Every operation of the platform, by group."""']
    body += ["def __init__(self, connection: Connection) -> None:"]
    body += [f"    self.{g} = {class_of(g)}(connection)" for g in groups]
    return "\n".join([*lines, indent("\n".join(body), "    ")])


def _module(group: str, operations: list[Operation]) -> str:
    used = Used()
    sent: set[str] = set()
    methods = [_method(operation, used, sent) for operation in operations]
    names = {"Connection", "Route"} | _returned(operations)
    lines = [
        HEADER.format(about=f"Operations of the group {group}."),
        *imports(used),
        *sorted(sent),
    ]
    lines += [f"from orrery.connection import {', '.join(sorted(names))}"]
    if any(operation.streams for operation in operations):
        lines += ["from orrery.server_events import Event"]
    lines += [f"class {class_of(group)}:"]
    body = [f'"""Operations of the group {group}."""', ""]
    body += ["def __init__(self, connection: Connection) -> None:"]
    body += ["    self._connection = connection", ""]
    return "\n".join([*lines, indent("\n".join([*body, *methods]), "    "), _routes(operations)])


def _returned(operations: Iterable[Operation]) -> set[str]:
    pages = any(item_type(o.output) for o in operations)
    return {"Listing"} if pages else set()


def _method(operation: Operation, used: Used, imported: set[str]) -> str:
    fields = operation.input.model_fields
    needed = [n for n in fields if n in operation.path_fields or fields[n].is_required()]
    needed.sort(key=lambda n: n not in operation.path_fields)
    rest = [name for name in fields if name not in needed]
    inner = Used()
    parameters = ["self", *(f"{n}: {_type(fields[n], inner)}" for n in needed)]
    options = [f"{name}: {_optional(fields[name], inner)}" for name in rest]
    if operation.is_keyed:
        options.append(f"{KEY_FIELD}: str | None = None")
    parameters += ["*", *options] if options else []
    given = [*needed, *rest, *([KEY_FIELD] if operation.is_keyed else [])]
    asked = ", ".join(f'"{name}": {name}' for name in given)
    answer = answer_of(operation)
    for model, is_sent in [*inner.models, (answer, False)]:
        name = name_of(model, is_sent=is_sent)
        imported.add(f"from orrery.answers.{module_of(model)} import {name}")
    used.names |= inner.names | ({"Iterator"} if operation.streams else set())
    verb, returned = _call(operation, name_of(answer, is_sent=False))
    call = f"self._connection.{verb}({_route(operation)}, {answer.__name__}, {{{asked}}})"
    return "\n".join(
        [
            f"def {method_of(operation)}({', '.join(parameters)}) -> {returned}:",
            indent(f'"""{_documentation(operation, given)}\n"""', "    "),
            f"    return {call}",
            "",
        ]
    )


def _call(operation: Operation, answer: str) -> tuple[str, str]:
    """Which method of the connection asks, and what it returns."""
    if operation.streams:
        return "follow", f"Iterator[Event[{answer}]]"
    if item_type(operation.output):
        return "listing", f"Listing[{answer}]"
    return "call", answer


def _type(field: FieldInfo, used: Used) -> str:
    return source(field.annotation, used, is_sent=True)


def _optional(field: FieldInfo, used: Used) -> str:
    """Type and default; None is for what the platform chooses itself."""
    kind, default = _type(field, used), field.get_default(call_default_factory=True)
    if isinstance(default, (str, int, float, bool)) and default != "":
        return f"{kind} = {default!r}"
    if "None" not in kind.split(" | "):
        kind += " | None"
    return f"{kind} = None"


def _documentation(operation: Operation, given: list[str]) -> str:
    text = "\n".join(wrap(operation.summary, WIDTH))
    fields = operation.input.model_fields
    lines = []
    for name in given:
        described = KEY_TEXT if name == KEY_FIELD else fields[name].description
        if described:
            told = " ".join(described.split())
            lines += wrap(
                f"{name}: {told}", WIDTH, subsequent_indent="    ", break_on_hyphens=False
            )
    if lines:
        text += "\n\n" + "\n".join(lines)
    own = [_exception(slug) for slug in operation.problems if slug not in ALWAYS]
    raised = ", ".join([*own, "Refused" if not own else "another Refused", "or Unreachable"])
    return text + "\n\n" + "\n".join(wrap(f"Raises {raised}.", WIDTH))


def _exception(slug: str) -> str:
    return "".join(part.capitalize() for part in slug.split("-"))


def _route(operation: Operation) -> str:
    return f"_{method_of(operation).upper()}"


def _routes(operations: Iterable[Operation]) -> str:
    return "\n".join(f"{_route(o)} = {_route_value(o)}" for o in operations)


def _route_value(operation: Operation) -> str:
    headers = {name: HEADERS[name] for name in operation.header_fields}
    if operation.is_keyed:
        headers[KEY_FIELD] = HEADERS[KEY_FIELD]
    nulls = [n for n in operation.other_fields if _keeps_null(operation.input.model_fields[n])]
    given: dict[str, Any] = {"method": operation.method, "path": operation.path}
    if headers:
        given["headers"] = headers
    if operation.has_body:
        given["has_body"] = True
    if not operation.changes:
        given["only_reads"] = True
    if nulls:
        given["nulls"] = tuple(nulls)
    return f"Route({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _keeps_null(field: FieldInfo) -> bool:
    """Whether None means something else than leaving the field out."""
    default = field.get_default(call_default_factory=True)
    takes_none = "None" in source(field.annotation, Used(), is_sent=True).split(" | ")
    return takes_none and not field.is_required() and default is not None
