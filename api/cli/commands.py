"""Commands made from the operations: `orrery GROUP VERB`, with tables for people and `--json`."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from rich.console import Console

from api.cli.brought_models import brought
from api.cli.field_types import holds_models, is_mapping, is_structured
from api.cli.terminal import console, ending, show
from api.client import Client, Refused, Unreachable
from api.operations import catalog, jobs
from api.operations.operation import Input, Operation
from api.operations.table import OPERATIONS
from projects.mistakes import located
from projects.yaml_values import parsed
from scheduler.states import ENDED

EXIT_REFUSED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_FAILED = 1, 2, 3, 4
GROUP_HELP = {
    "train": "Training jobs.",
    "jobs": "Jobs of every kind.",
    "services": "What serves.",
    "simulate": "Environments that models are tried in.",
    "models": "Models, their versions and the evidence about them.",
    "experiments": "Experiments and their runs.",
    "runs": "Metrics of runs.",
    "projects": "Declared projects.",
    "checkpoints": "States that trainings have reached, to go on from.",
    "datasets": "Datasets and their versions.",
    "account": "Who you are here.",
    "organizations": "Organizations.",
    "users": "Members of your organization.",
    "keys": "API keys.",
    "audit": "Who did what.",
    "callbacks": "Callbacks and how they went.",
    "collections": "What is not kept any more, and its removal.",
    "agent": "Tools for AI agents.",
}
errors = Console(stderr=True, style="red")


def add_commands(app: typer.Typer) -> None:
    """Add one command for every operation, in one group per first word."""
    groups: dict[str, typer.Typer] = {}
    for operation in OPERATIONS:
        if operation.group not in groups:
            groups[operation.group] = typer.Typer(no_args_is_help=True)
            app.add_typer(
                groups[operation.group], name=operation.group, help=GROUP_HELP[operation.group]
            )
        groups[operation.group].command(operation.verb, help=operation.summary)(_command(operation))


def _command(operation: Operation) -> Callable[..., None]:
    def command(**given: Any) -> None:
        as_json, follow = given.pop("as_json"), given.pop("follow_job", False)
        if operation is catalog.MODELS_REGISTER:
            given["address"] = brought(given["address"])
        request = _request_of(operation, given)
        try:
            client = Client.discovered()
            if operation.streams:
                _follow(client, operation, request, as_json=as_json)
                return
            answer = client.call(operation, request)
            show(operation, answer, as_json=as_json)
            if follow and isinstance(answer, jobs.Job):
                _follow_job(client, answer.job_id, as_json=as_json)
        except Refused as error:
            errors.print(str(error), highlight=False, soft_wrap=True)
            raise typer.Exit(EXIT_REFUSED) from None
        except Unreachable as error:
            errors.print(str(error), highlight=False, soft_wrap=True)
            raise typer.Exit(EXIT_UNREACHABLE) from None

    command.__signature__ = inspect.Signature(list(_parameters(operation)))  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in _parameters(operation)}
    return command


def _parameters(operation: Operation) -> list[inspect.Parameter]:
    fields = operation.input.model_fields
    parameters = [
        _parameter(name, fields[name], is_argument=True) for name in operation.path_fields
    ]
    others = [name for name in fields if name not in operation.path_fields]
    required = [name for name in others if fields[name].is_required()]
    parameters += [_parameter(name, fields[name], is_argument=True) for name in required]
    parameters += [
        _parameter(name, fields[name], is_argument=False) for name in others if name not in required
    ]
    as_json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters.append(inspect.Parameter("as_json", keyword, annotation=as_json, default=False))
    if operation.output is jobs.Job and operation.cost == "compute":
        text = "Follow the log until the job ends; a job that fails ends with exit code 4."
        follow = Annotated[bool, typer.Option("--follow", help=text)]
        parameters.append(
            inspect.Parameter("follow_job", keyword, annotation=follow, default=False)
        )
    return parameters


def _parameter(name: str, field: FieldInfo, *, is_argument: bool) -> inspect.Parameter:
    kind, help = _kind_of(field.annotation), field.description or ""
    if is_argument:
        info: Any = typer.Argument(help=help, show_default=False)
        default: Any = inspect.Parameter.empty
    else:
        info = typer.Option(f"--{name.replace('_', '-')}", help=help, show_default=False)
        default = False if kind is bool else None
        kind = kind if kind is bool else kind | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default
    )


def _kind_of(annotation: Any) -> Any:
    """What the command line reads: numbers and words as such, lists repeated, all else as YAML."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        kinds = {_kind_of(a) for a in get_args(annotation) if a is not type(None)}
        return kinds.pop() if len(kinds) == 1 else str
    if get_origin(annotation) is Literal:
        return str
    if get_origin(annotation) in (list, dict):
        return str if annotation is not None and _is_nested(annotation) else list[str]
    return annotation if annotation in (bool, int, float) else str


def _is_nested(annotation: Any) -> bool:
    """Whether a list holds more than words."""
    if get_origin(annotation) is dict:
        return False
    (inner,) = get_args(annotation)
    return _kind_of(inner) is not str or holds_models(inner)


def _request_of(operation: Operation, given: dict[str, Any]) -> Input:
    fields = operation.input.model_fields
    values = {}
    for name, value in given.items():
        # What was not given is not sent, so that a change affects only the fields that are named.
        if value is None or (value is False and fields[name].default is False):
            continue
        values[name] = _value(fields[name].annotation, value)
    try:
        return operation.input.model_validate(values)
    except ValidationError as error:
        for place, detail in located(error.errors(), values):
            field = ".".join(map(str, place))
            errors.print(f"{field}: {detail['msg']}", highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None


def _value(annotation: Any, given: Any) -> Any:
    if isinstance(given, list):
        if is_mapping(annotation):
            return _mapping(given)
        return given
    if not isinstance(given, str):
        return given
    if given.startswith("@"):
        return _file(given[1:])
    return _yaml(given) if is_structured(annotation) else given


def _mapping(given: list[str]) -> dict[str, Any]:
    """`key=value` pairs, or one YAML mapping."""
    values: dict[str, Any] = {}
    for part in given:
        if part.startswith("@"):
            part = _file(part[1:])  # noqa: PLW2901
        key, equals, value = part.partition("=")
        # A YAML mapping may contain `=` in one of its values.
        if equals and "{" not in key:
            values[key] = _yaml(value)
            continue
        mapping = _yaml(part)
        if not isinstance(mapping, dict):
            errors.print(f"got {part!r}, expected KEY=VALUE or a mapping", highlight=False)
            raise typer.Exit(EXIT_USAGE)
        values |= mapping
    return values


def _yaml(text: str) -> Any:
    try:
        return parsed(text)
    except (yaml.YAMLError, ValueError) as error:
        errors.print(f"{text!r} is no YAML: {error}", highlight=False)
        raise typer.Exit(EXIT_USAGE) from None


def _file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        errors.print(f"{path} cannot be read: {error}", highlight=False)
        raise typer.Exit(EXIT_USAGE) from None


def _follow_job(client: Client, job_id: str, *, as_json: bool) -> None:
    _follow(client, jobs.LOGS, jobs.FollowLogs(id=job_id), as_json=as_json)
    ended = client.call(jobs.GET_ANY, jobs.JobId(id=job_id))
    if not as_json:
        console.print(ending(ended), highlight=False, soft_wrap=True)
    if ended.status in ENDED and ended.status != "succeeded":
        raise typer.Exit(EXIT_FAILED)


def _follow(client: Client, operation: Operation, request: Input, *, as_json: bool) -> None:
    for event, line in client.follow(operation, request):
        if as_json:
            print(json.dumps({"id": event.id, **line.model_dump(mode="json")}), flush=True)  # noqa: T201
            continue
        if line.kind == "event":
            continue  # Dagster's own steps; its page shows them.
        style = {"error": "red", "end": "bold", "output": "dim"}.get(line.kind, "")
        at = line.at.astimezone().strftime("%H:%M:%S")
        console.print(f"{at} {line.text}", style=style, highlight=False, markup=False)
