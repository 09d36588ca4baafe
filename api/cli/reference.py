"""The reference of the API as a page for people, written from the operations."""

from api.operations.operation import HEADERS, Operation
from api.problems import ALWAYS, TYPES

HEAD = """# The API

Every operation is a REST route, a command, and (where the last column says so) a tool for agents.
This page is written by `orrery openapi --markdown`; the whole contract, with the schemas of every
input and output, is `orrery openapi` or `/openapi.json`. [gateway.md](gateway.md) says how to
sign in, page, retry, follow and be called back.

"""


def markdown(operations: tuple[Operation, ...]) -> str:
    """The reference, by group."""
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(operation.group, []).append(operation)
    return HEAD + "\n".join(_group(name, members) for name, members in groups.items()) + _problems()


def _group(name: str, members: list[Operation]) -> str:
    lines = [
        f"## {name}",
        "",
        "| route | command | needs | what it does | takes | tool |",
        "|---|---|---|---|---|---|",
    ]
    for o in members:
        right = str(o.permission) if o.permission else "a sign-in"
        fields = ", ".join(
            f"**{_wire(n)}**" if f.is_required() else _wire(n)
            for n, f in o.input.model_fields.items()
            if n not in o.path_fields
        )
        tool = ("changes" if o.changes else "reads") if o.for_agents else ""
        lines.append(
            f"| `{o.method} {o.path}` | `orrery {o.group} {o.verb}` | {right} | {o.summary} "
            f"| {fields} | {tool} |"
        )
    return "\n".join([*lines, ""])


def _wire(name: str) -> str:
    return HEADERS.get(name, name)


def _problems() -> str:
    lines = [
        "",
        "## Problems",
        "",
        "Every error is a problem document (RFC 9457) of one of these types; all operations may "
        "answer with those marked *.",
        "",
        "| type | status | what it means | what to do |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `/problems/{slug}`{' *' if slug in ALWAYS else ''} | {kind.status} | {kind.title} "
        f"| {kind.todo} |"
        for slug, kind in TYPES.items()
    ]
    return "\n".join(lines) + "\n"
