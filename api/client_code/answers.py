"""The client's types: a dataclass for each answer, a TypedDict for each mapping that is sent."""

from collections.abc import Iterable, Mapping
from textwrap import indent
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from api.client_code.types import Used, imports, is_model, module_of, name_of, source
from api.operations.operation import Operation, Page, item_type

HEADER = '''"""{about}

Written by `python -m api.client_code` from the table of operations; change that instead.
"""'''
SECRETS = frozenset({"key", "secret", "url"})
"""Fields of an answer with a secret that are not shown where the answer is."""


def answer_of(operation: Operation) -> Any:
    """Type that the operation answers with; that of an item for a page."""
    return item_type(operation.output) or operation.output


def modules(operations: Iterable[Operation]) -> dict[str, str]:
    """Source of each module of types, by its name."""
    sent, answered = _models(operations)
    secret = {o.output for o in operations if o.shows_secret}
    texts: dict[str, str] = {}
    for name in sorted({module_of(model) for model in (*sent, *answered)}):
        used = Used()
        blocks = [
            _mapping(m, used) if is_sent else _class(m, used, is_secret=m in secret)
            for is_sent, models in ((True, sent), (False, answered))
            for m in models
            if module_of(m) == name
        ]
        others = {
            f"from orrery.answers.{module_of(m)} import {name_of(m, is_sent=is_sent)}"
            for m, is_sent in used.models
            if module_of(m) != name
        }
        head = [HEADER.format(about=f"What operations take and answer: {name}."), *imports(used)]
        texts[name] = "\n".join([*head, *sorted(others), *blocks])
    return texts


def _models(
    operations: Iterable[Operation],
) -> tuple[list[type[BaseModel]], list[type[BaseModel]]]:
    """Models that are sent, nested in inputs, and those that are answered; each after its parts."""
    sent: dict[type[BaseModel], None] = {}
    answered: dict[type[BaseModel], None] = {}
    for operation in operations:
        for field in operation.input.model_fields.values():
            _collect(field.annotation, sent, is_sent=True)
        _collect(answer_of(operation), answered, is_sent=False)
    return list(sent), list(answered)


def _collect(annotation: Any, known: dict[type[BaseModel], None], *, is_sent: bool) -> None:
    if not is_model(annotation):
        for inner in get_args(annotation):
            _collect(inner, known, is_sent=is_sent)
        return
    used = Used()
    source(annotation, used, is_sent=is_sent)
    if (
        annotation in known
        or (annotation, is_sent) not in used.models
        or issubclass(annotation, Page)
    ):
        return
    for field in annotation.model_fields.values():
        _collect(field.annotation, known, is_sent=is_sent)
    known[annotation] = None


def _mapping(model: type[BaseModel], used: Used) -> str:
    used.names.add("TypedDict")
    required = [name for name, field in model.model_fields.items() if field.is_required()]
    fields = [
        _documented(f"{name}: {source(field.annotation, used, is_sent=True)}", field)
        for name, field in model.model_fields.items()
    ]
    text = (model.__doc__ or "").strip()
    if required:
        text += f" Needs {', '.join(required)}."
    name = name_of(model, is_sent=True)
    return f"class {name}(TypedDict, total=False):\n{_body(text, fields)}"


def _class(model: type[BaseModel], used: Used, *, is_secret: bool) -> str:
    used.names.add("dataclass")
    fields = []
    for name, field in model.model_fields.items():
        hidden = is_secret and name in SECRETS
        typed = f"{name}: {source(field.annotation, used, is_sent=False)}"
        fields.append(_documented(f"{typed}{_default(field, used, is_hidden=hidden)}", field))
    body = _body((model.__doc__ or "").strip(), fields)
    name = name_of(model, is_sent=False)
    return f"@dataclass(frozen=True, kw_only=True)\nclass {name}:\n{body}"


def _default(field: FieldInfo, used: Used, *, is_hidden: bool) -> str:
    """The default, so that an answer of an older platform without the field can be read."""
    given: Mapping[str, str] = {"repr": "False"} if is_hidden else {}
    if not field.is_required():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, (list, dict)):
            given = {**given, "default_factory": type(default).__name__}
        elif isinstance(default, (str, int, float, bool)) or default is None:
            if not given:
                return f" = {default!r}"
            given = {**given, "default": repr(default)}
    if not given:
        return ""
    used.names.add("field")
    return f" = field({', '.join(f'{name}={value}' for name, value in given.items())})"


def _documented(line: str, field: FieldInfo) -> str:
    return f'{line}\n"""{field.description}"""' if field.description else line


def _body(text: str, fields: list[str]) -> str:
    return indent("\n".join([f'"""{text}"""\n', *fields]), "    ")
