"""`orrery gc` as a person sees it: the plan, the question, the progress and the report."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.table import Table

from api.cli.installation import opened
from api.collection.work import CollectionWork, collector_of
from resources.collection.collector import Report
from resources.collection.item import Item, Sorted
from resources.collection.records import records
from resources.settings import Settings

MOST_FAILURES = 20
NOBODY = "(no project)"
LOOKING = "looking at what is there ..."


def show_plan(settings: Settings, console: Console) -> None:
    """Print what `orrery gc` would remove; nothing is recorded."""
    with opened(settings) as platform, console.status(LOOKING):
        plan = collector_of(platform).plan()
    _Shown(console).plan(plan)


def collect(settings: Settings, console: Console, *, is_sure: bool, actor: str) -> int:
    """Exit code of a whole `orrery gc`: 1 where it was refused, or something was not removed."""
    with opened(settings) as platform:
        with platform.control.write() as connection:
            record = records.create(connection, actor, is_mine=True)
        work = CollectionWork(platform, record)
        try:
            return _carried_out(work, console, is_sure=is_sure, actor=actor)
        except Exception as error:
            work.end(f"{type(error).__name__}: {error}")
            raise


def _carried_out(work: CollectionWork, console: Console, *, is_sure: bool, actor: str) -> int:
    shown = _Shown(console)
    with console.status(LOOKING):
        plan = work.plan()
    shown.plan(plan)
    if not plan.chosen:
        work.end()
        return 0
    if not (is_sure or typer.confirm("Remove this? It cannot be undone.")):
        work.end("nobody agreed to it")
        return 1
    work.begin(actor)
    with console.status("removing ...") as status:
        report = work.remove(
            lambda done: status.update(f"removed {done} of {len(plan.chosen)} ...")
        )
    shown.report(report)
    return int(bool(report.failed))


class _Shown:
    """A console that plans and reports are told on."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def plan(self, plan: Sorted) -> None:
        """Print what would go, and what stays."""
        self._console.print(_chosen(plan))
        self._console.print(_kept(plan))

    def report(self, report: Report) -> None:
        """Print what was removed."""
        counts = Counter(item.kind for item in report.removed)
        freed = sum(item.bytes for item in report.removed)
        said = ", ".join(f"{count} of {kind}" for kind, count in sorted(counts.items()))
        self._say(f"removed: {said or 'nothing'}; {_size(freed)} freed")
        for item, reason in report.kept:
            self._say(f"kept after all: {item.kind} {item.name}: {reason}")
        for item, reason in report.failed[:MOST_FAILURES]:
            self._say(f"not removed: {item.kind} {item.name}: {reason}")
        if len(report.failed) > MOST_FAILURES:
            self._say(f"and {len(report.failed) - MOST_FAILURES} more")
        if report.failed:
            self._say("run `orrery gc` again: it goes on with what was not removed.")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)


def _chosen(plan: Sorted) -> Table:
    """What would go, by project and kind."""
    table = Table("project", "what", "number", "bytes", "oldest", "newest", title="to remove")
    for (project, kind), items in _grouped(plan.chosen):
        times = [item.at for item in items if item.at]
        ends = [_day(min(times)), _day(max(times))] if times else ["", ""]
        size = _size(sum(item.bytes for item in items))
        table.add_row(project or NOBODY, kind, str(len(items)), size, *ends)
    table.add_row(*["", "all", str(len(plan.chosen)), _size(sum(i.bytes for i in plan.chosen))])
    return table


def _kept(plan: Sorted) -> Table:
    """What stays, by project, kind and reason."""
    reasons: dict[tuple[str, str, str], list[Item]] = defaultdict(list)
    for item, reason in plan.kept:
        reasons[item.project, item.kind, reason].append(item)
    table = Table("project", "what", "number", "bytes", "why", title="kept")
    for (project, kind, reason), items in sorted(reasons.items()):
        size = _size(sum(item.bytes for item in items))
        table.add_row(project or NOBODY, kind, str(len(items)), size, reason)
    return table


def _grouped(items: Iterable[Item]) -> list[tuple[tuple[str, str], list[Item]]]:
    groups: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        groups[item.project, item.kind].append(item)
    return sorted(groups.items())


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
