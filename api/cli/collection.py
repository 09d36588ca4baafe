"""`orrery gc` as a person sees it: the plan, the question, the progress and the report."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.table import Table

from api.cli.installation import opened
from api.handlers.collection import collector_of
from resources.collection.collector import Collector, Plan, Report
from resources.collection.item import Item
from resources.settings import Settings

MOST_FAILURES = 20
NOBODY = "(no project)"


def collect(settings: Settings, console: Console, *, is_sure: bool, is_dry: bool) -> int:
    """Exit code of a whole `orrery gc`: 1 where it was refused, or something was not removed."""
    with opened(settings) as platform:
        collection = Collection(collector_of(platform), console)
        plan = collection.plan()
        if is_dry or not plan.chosen:
            return 0
        if not (is_sure or typer.confirm("Remove this? It cannot be undone.")):
            return 1
        return int(bool(collection.carry_out(plan).failed))


class Collection:
    """A collector, and the console that it tells on."""

    def __init__(self, collector: Collector, console: Console) -> None:
        self._collector, self._console = collector, console

    def plan(self) -> Plan:
        """What would go, now printed."""
        with self._console.status("looking at what is there ..."):
            plan = self._collector.plan()
        self._console.print(_chosen(plan))
        self._console.print(_kept(plan))
        return plan

    def carry_out(self, plan: Plan) -> Report:
        """What was removed, now printed."""
        with self._console.status("removing ...") as status:
            report = self._collector.carry_out(
                plan, lambda done: status.update(f"removed {done} of {len(plan.chosen)} ...")
            )
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
        return report

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)


def _chosen(plan: Plan) -> Table:
    """What would go, by project and kind."""
    table = Table("project", "what", "number", "bytes", "oldest", "newest", title="to remove")
    for (project, kind), items in _grouped(plan.chosen):
        times = [item.at for item in items if item.at]
        ends = [_day(min(times)), _day(max(times))] if times else ["", ""]
        size = _size(sum(item.bytes for item in items))
        table.add_row(project or NOBODY, kind, str(len(items)), size, *ends)
    table.add_row(*["", "all", str(len(plan.chosen)), _size(sum(i.bytes for i in plan.chosen))])
    return table


def _kept(plan: Plan) -> Table:
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
