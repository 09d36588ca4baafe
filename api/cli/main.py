"""The command line `orrery`."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from api.cli.commands import add_commands
from projects.loading import InvalidProject, load_projects
from resources.settings import CHECKOUT, Settings

app = typer.Typer(
    help="Keep the loop turning: dataset, checkpoint, model, simulation, service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True, style="red")


def main() -> None:
    """Run the command line; Ctrl-C ends with 130 and without a trace."""
    os.environ["DAGSTER_HOME"] = str(CHECKOUT)
    # A process started in the background of a script inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("ORRERY_DEBUG"):
            raise
        errors.print(str(error) or type(error).__name__, highlight=False, soft_wrap=True)
        sys.exit(getattr(error, "exit_code", 1))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@app.command()
def up() -> None:
    """Start and supervise everything on this machine; Ctrl-C stops it."""
    from api.processes.plan import plans
    from api.processes.supervisor import Supervisor

    settings = Settings()
    supervisor = Supervisor(settings, lambda text: console.print(text, highlight=False))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, supervisor.ask_to_stop)
    try:
        supervisor.start()
        console.print("starting; this takes some seconds ...")
        supervisor.wait_ready()
        table = Table(show_header=False)
        for plan in plans(settings):
            table.add_row(plan.name, plan.shown or "running")
        table.add_row("state and logs", str(settings.state.absolute()))
        table.add_row("admin key", str(settings.admin_key_file.absolute()))
        console.print(table)
        _show_link(settings, again=False)
        console.print("Ctrl-C, or `orrery down` from elsewhere, stops everything.")
        supervisor.keep()
    finally:
        console.print("stopping ...")
        supervisor.stop()
    console.print("nothing is left running.")


def _show_link(settings: Settings, *, again: bool) -> None:
    """Print a link for the owner; without `again` only while nobody has ever signed in."""
    from api.cli.installation import link_of

    if link := link_of(settings, again=again):
        said = f"sign in, once, within the hour: {link}"
        console.print(said, highlight=False, soft_wrap=True)


@app.command("admin-key")
def make_admin_key() -> None:
    """Make another admin key of the owner of this installation, and print it."""
    from api.cli.installation import admin_key_of

    print(admin_key_of(Settings()))  # noqa: T201


@app.command("sign-in-link")
def make_sign_in_link() -> None:
    """Make a link that signs the owner of this installation in, once."""
    _show_link(Settings(), again=True)


@app.command()
def down() -> None:
    """Stop everything that `orrery up` started."""
    from api.processes.supervisor import take_down

    was_up = take_down(Settings())
    console.print("stopped; nothing is left running." if was_up else "nothing is running.")


@app.command()
def demo() -> None:
    """Turn the loop once on real data, refuse a bad model, and stop."""
    from api.cli.demo import Demo

    Demo(Settings(), console).run()


@app.command()
def init(
    source: Annotated[
        str,
        typer.Argument(
            help="A table, a model, a folder of images, or a Gymnasium environment's id."
        ),
    ],
    data: Annotated[
        str | None, typer.Option(help="Table whose rows prove a model that is there already.")
    ] = None,
    environment: Annotated[
        str | None, typer.Option(help="Id of the environment whose episodes prove a policy.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column to predict.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the project.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; take what is found.")] = False,
) -> None:
    """Write a project file for your data: types, split, trainer, suite and gate that fit it."""
    from api.cli.starting.command import default_of, start
    from api.cli.starting.draft import CannotStart

    def ask(question: str, default: str, choices: Sequence[str] = ()) -> str:
        shown = f" ({', '.join(choices[:12])})" if choices else ""
        return typer.prompt(f"{question}{shown}", default=default)

    is_asked = not yes and sys.stdin.isatty()
    try:
        answers = ask if is_asked else default_of
        project, draft = start(source, name, label, data, environment, answers, console.print)
    except CannotStart as error:
        errors.print(str(error), highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    for sentence in draft.seen:
        console.print(f"- {sentence}", highlight=False, soft_wrap=True)
    console.print(f"wrote {project.file}", highlight=False, soft_wrap=True)
    turn = project.name if project.file.parent == Path.cwd() else project.file
    console.print(f"next: orrery turn {turn}", highlight=False, soft_wrap=True)


@app.command()
def turn(
    project: Annotated[str, typer.Argument(help="Name of a project, or its file.")],
    stop: Annotated[bool, typer.Option("--stop", help="Stop everything when it is done.")] = False,
) -> None:
    """Turn a project's loop once: data, training, simulations, gate, and a service that answers."""
    from api.cli.turn import Turn, TurnFailed, found

    try:
        loaded, settings = found(project, Settings())
        Turn(loaded, settings, console).run(stop=stop)
    except (InvalidProject, TurnFailed) as error:
        errors.print(str(error), highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


@app.command()
def suites() -> None:
    """Print every kind of suite with its fields, as Markdown."""
    from api.cli.suite_reference import markdown

    sys.stdout.write(markdown())


@app.command()
def trainers() -> None:
    """Print every shipped trainer with its hyperparameters, as Markdown."""
    from api.cli.trainer_reference import markdown

    sys.stdout.write(markdown())


@app.command()
def check(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders of project files.", show_default=False)
    ] = None,
) -> None:
    """Check every project's declaration."""
    try:
        projects = load_projects(folders or Settings().project_folders)
    except InvalidProject as error:
        for problem in error.problems:
            errors.print(str(problem), highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    for project in projects:
        d = project.declaration
        families = {
            "dataset": d.datasets,
            "model": d.models,
            "simulation": d.simulations,
            "service": d.services,
        }
        counts = [f"{len(f)} {name}{'s' * (len(f) != 1)}" for name, f in families.items()]
        console.print(f"{project.name}: {', '.join(counts)}", highlight=False)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Look at what the settings name, and say what is missing and what to do."""
    import json
    from dataclasses import asdict

    from api.cli.findings import print_findings
    from deploy.doctor.examination import examine
    from resources.kubernetes_api.settings import ClusterSettings

    with errors.status("looking ..."):
        findings = list(examine(Settings(), ClusterSettings()))
    if as_json:
        print(json.dumps([asdict(each) for each in findings], indent=2))  # noqa: T201
    else:
        print_findings(findings, console)
    if any(each.state == "missing" for each in findings):
        raise typer.Exit(1)


@app.command()
def manifests(
    overlay: Annotated[str, typer.Option(help="Overlay of deploy/kubernetes.")] = "prod",
    project: Annotated[str, typer.Option(help="Project of the service and the job.")] = "digits",
) -> None:
    """Print every object of a deployment, and of one service and one job, as YAML."""
    from api.cli.manifests import stream

    print(stream(overlay, project), end="")  # noqa: T201


@app.command()
def openapi(
    markdown: Annotated[bool, typer.Option(help="Print the page of docs/api.md instead.")] = False,
) -> None:
    """Print the API's document (OpenAPI 3.1)."""
    import json

    if markdown:
        from api.cli import reference
        from api.operations.table import OPERATIONS

        print(reference.markdown(OPERATIONS), end="")  # noqa: T201
        return
    from api.app import Gateway
    from api.app import openapi as document_of
    from api.settings import GatewaySettings

    print(json.dumps(document_of(Gateway(Settings(), GatewaySettings()).api), indent=2))  # noqa: T201


@app.command()
def migrate(
    folder: Annotated[
        Path,
        typer.Option(
            "--from",
            exists=True,
            file_okay=False,
            help="State folder of the embedded default.",
        ),
    ],
    check: Annotated[bool, typer.Option("--check", help="Only compare both sides.")] = False,
) -> None:
    """Move a state folder to the PostgreSQL and the bucket that the settings name."""
    from api.cli.moving import move

    raise typer.Exit(move(folder, Settings(), console, errors, only_compare=check))


@app.command()
def gc(
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing; remove what is planned.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="As --yes, recorded as the work of a schedule.")
    ] = False,
) -> None:
    """Remove what the declared retention no longer keeps, after a plan and a question."""
    from api.cli.collection import collect, show_plan

    if dry_run:
        show_plan(Settings(), console)
        return
    actor = "schedule" if scheduled else "orrery gc"
    raise typer.Exit(collect(Settings(), console, is_sure=yes or scheduled, actor=actor))


@app.command("sign-in")
def sign_in(
    url: Annotated[str, typer.Option(prompt=True, help="Address of the gateway.")],
    key: Annotated[str, typer.Option(prompt=True, hide_input=True, help="API key.")],
) -> None:
    """Keep an address and a key for later commands."""
    from api.client import Client, keep_credentials
    from api.operations import accounts
    from api.operations.operation import Nothing

    me = Client(url, key).call(accounts.ME, Nothing())
    path = keep_credentials(url, key)
    console.print(f"signed in as {me.name}, {me.role} of {me.organization}; kept in {path}")


add_commands(app)

if __name__ == "__main__":
    main()
