"""Which items go: a pure function of what is declared, what is needed, and the time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from projects.retention import Kept, KeptCheckpoints, Retention
from resources.collection.item import Item, Part, Sorted

DAY_S = 86_400.0
YOUNG = "younger than a day"
UNBOUNDED = "nothing bounds how long it is kept"
LEFT_OVER = "nothing names it"
FOLLOWS = "goes with what it belongs to"
SETTINGS: Mapping[Part, str] = {
    "runs": "ORRERY_RETENTION_RUNS_DAYS",
    "logs": "ORRERY_RETENTION_LOGS_DAYS",
    "checkpoints": "ORRERY_RETENTION_OBJECTS_DAYS",
    "versions": "ORRERY_RETENTION_OBJECTS_DAYS",
}
"""What bounds the things that belong to no project."""


class Policies(NamedTuple):
    """What is declared, by project."""

    declared: Mapping[str, Retention]
    broken: frozenset[str]
    """Projects whose declaration is broken: all of theirs is kept."""
    others: Retention
    """For what belongs to no project."""

    def of(self, project: str, part: Part) -> tuple[Kept | None, str]:
        """What bounds the part of the project, or why nothing does."""
        if project in self.broken:
            return None, "the declaration of its project is broken"
        if project and project not in self.declared:
            return None, "no declaration names its project: purge it, or declare it again"
        kept: Kept = getattr(self.declared[project] if project else self.others, part)
        return (kept, "") if kept.is_bounded else (None, UNBOUNDED)


def sort_out(items: Iterable[Item], policies: Policies, now: float) -> Sorted:
    """Which items go and which stay."""
    series: dict[tuple[str, str, Part], list[Item]] = defaultdict(list)
    for item in items:
        series[item.project, item.of, item.part].append(item)
    chosen, kept = [], []
    for (project, _, part), alike in series.items():
        declared, why = policies.of(project, part)
        newest, best = _newest(alike, declared), _best(alike, declared)
        for item in alike:
            reason = _reason(item, declared, why, now, newest, best)
            if reason:
                kept.append((item, reason))
            else:
                chosen.append(item)
    return Sorted(chosen, kept)


def rule_of(item: Item) -> str:
    """Why an item goes that was chosen."""
    if item.is_left_over:
        return LEFT_OVER
    if item.follows:
        return FOLLOWS
    place = f"`retention.{item.part}`" if item.project else SETTINGS[item.part]
    return f"no bound of {place} keeps it"


def _reason(
    item: Item,
    declared: Kept | None,
    why: str,
    now: float,
    newest: set[str],
    best: set[str],
) -> str:
    """Why the item stays; empty where it goes."""
    if item.needed:
        return item.needed
    if now - item.at < DAY_S:
        return YOUNG
    if item.is_left_over:
        return ""
    if declared is None:
        return why
    if item.follows:
        return ""
    return _wish(item, declared, now, newest, best)


def _wish(item: Item, declared: Kept, now: float, newest: set[str], best: set[str]) -> str:
    if declared.keep_days is not None and now - item.at < declared.keep_days * DAY_S:
        return f"younger than {declared.keep_days} days"
    if item.name in newest:
        return f"one of the newest {declared.keep_newest}"
    return "one of the best" if item.name in best else ""


def _newest(alike: list[Item], declared: Kept | None) -> set[str]:
    if declared is None or declared.keep_newest is None:
        return set()
    own = [item for item in alike if not item.follows]
    ordered = sorted(own, key=lambda item: item.at, reverse=True)
    return {item.name for item in ordered[: declared.keep_newest]}


def _best(alike: list[Item], declared: Kept | None) -> set[str]:
    if not isinstance(declared, KeptCheckpoints) or declared.keep_best is None:
        return set()
    measured = [item for item in alike if item.value is not None]
    sign = 1 if declared.lower_is_better else -1
    ordered = sorted(measured, key=lambda item: (sign * (item.value or 0.0), -item.at))
    return {item.name for item in ordered[: declared.keep_best]}
