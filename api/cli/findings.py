"""How findings of the doctor are printed for a person: what is missing first."""

import itertools
import textwrap
from collections.abc import Iterable, Iterator

from rich.console import Console

from deploy.doctor.finding import Finding, State

TITLES: dict[State, str] = {
    "missing": "missing",
    "warning": "warnings",
    "skipped": "skipped: not known from here",
    "ok": "well",
}
"""In the order in which they are printed."""
STYLES: dict[State, str] = {
    "missing": "bold red",
    "warning": "bold yellow",
    "skipped": "bold cyan",
    "ok": "bold green",
}
NARROWEST = 40


def print_findings(findings: Iterable[Finding], console: Console) -> None:
    """Print all of them by their states, each command on a line of its own that nothing breaks."""
    found = list(findings)
    for state, title in TITLES.items():
        those = [each for each in found if each.state == state]
        if those:
            console.print(f"{title} ({len(those)})", style=STYLES[state], highlight=False)
            for line in _lines(state, those, max(console.width, NARROWEST)):
                console.print(line, highlight=False, markup=False, soft_wrap=True)
            console.print()


def _lines(state: State, findings: list[Finding], width: int) -> Iterator[str]:
    if state == "ok":
        for each in findings:
            yield from _wrapped(f"{each.name}: {each.message}", width, "  ", "    ")
        return
    for _, group in itertools.groupby(findings, key=lambda each: (each.todo, each.commands)):
        those = list(group)
        yield ""
        for each in those:
            yield f"  {each.name}"
            yield from _wrapped(each.message, width, "    ", "    ")
        yield from _wrapped(f"-> {those[0].todo}", width, "    ", "       ")
        # Of one group all have the same.
        yield from (f"       {command}" for command in those[0].commands)


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    return [
        line
        for part in text.splitlines()
        for line in textwrap.wrap(
            part,
            width,
            initial_indent=first,
            subsequent_indent=others,
            # Names of objects and addresses stay whole.
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
