"""Dagster_runs as a person reads them while they go on, and ports for processes of one's own."""

from collections.abc import Callable, Iterator

from api.cli.dagster_runs import DagsterRun, Happening
from api.processes.plan import free_port, is_free
from resources.settings import Settings


def shown(run: DagsterRun, say: Callable[[str], None]) -> Iterator[Happening]:
    """What happens in the run, each shown; the run is stopped where the reader stops."""
    ended = False
    try:
        for happening in run.follow():
            _show(happening, say)
            yield happening
        ended = True
    finally:
        if not ended:
            run.stop()


def _show(happening: Happening, say: Callable[[str], None]) -> None:
    if happening.kind == "materialized":
        say(f"[green]✓[/green] {happening.text}")
    elif happening.kind == "check":
        mark = "[green]✓[/green]" if happening.passed else "[red]✗[/red]"
        say(f"  {mark} {happening.text}")
    elif happening.kind == "failed" and "AssetCheckFailed" not in happening.text:
        say(f"[red]✗[/red] {happening.step}: {_first_line(happening.text)}")
    elif happening.kind == "log" and not happening.text.startswith("Dependencies for step"):
        say(f"  [dim]{happening.text}[/dim]")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def with_free_ports(settings: Settings) -> Settings:
    """The settings, with another port where somebody else uses the one that is set."""
    ports = {
        name: port if is_free(settings.host, port) else free_port(settings.host)
        for name in ("port", "router_port", "router_grpc_port")
        for port in [getattr(settings, name)]
    }
    return settings.model_copy(update=ports)
