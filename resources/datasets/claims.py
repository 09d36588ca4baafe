"""What must hold for a dataset version before anything learns from it: the declared claims, and
those that any training needs."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from projects.dataset import Bounds, Expectations
from resources.datasets.profiling import ColumnProfile
from resources.datasets.version import DatasetVersion

MOST_NAMED = 5


class Claim(NamedTuple):
    """One thing that must hold for a dataset version, and whether it does."""

    name: str
    holds: bool
    message: str


TEXTS = {
    "has_enough_rows": "The version has as many rows as declared (at least two).",
    "features_are_finite": "No feature is null, NaN or infinite beyond the declared share.",
    "columns_are_as_expected": "Every declared range and share of nulls holds.",
    "labels_are_usable": "No label is null, NaN or infinite, and not all are the same.",
    "classes_are_balanced": "Every class has its declared share and number of rows.",
    "splits_are_whole": "Every split has rows, and each has rows of every class.",
    "nothing_is_left_out": "The source was read whole, and no value was converted.",
}


def claim_names(expect: Expectations) -> list[str]:
    """Names of the claims about every version of a dataset with these expectations."""
    return [name for name in TEXTS if name != "nothing_is_left_out" or expect.complete]


def claims(version: DatasetVersion, expect: Expectations) -> list[Claim]:
    """Every claim about the version under the expectations, which may be newer than it is: what
    the version has recorded decides, and its source is not read again."""
    judged = {
        "has_enough_rows": _rows(version, expect),
        "features_are_finite": _finite(version, expect),
        "columns_are_as_expected": _columns(version, expect),
        "labels_are_usable": _labels(version),
        "classes_are_balanced": _classes(version, expect),
        "splits_are_whole": _splits(version, expect),
        "nothing_is_left_out": _complete(version),
    }
    return [Claim(name, *judged[name]) for name in claim_names(expect)]


Judged = tuple[bool, str]


def _rows(version: DatasetVersion, expect: Expectations) -> Judged:
    wanted = expect.rows or Bounds(at_least=2)
    rows = version.rows
    return _within(rows, rows, wanted), f"{rows} rows, expected {_range(wanted)}"


def _finite(version: DatasetVersion, expect: Expectations) -> Judged:
    every, rows = version.profile.every(), max(1, version.rows)
    wrong = []
    for name in version.features:
        column = every[name]
        if column.infinite or column.nulls / rows > _nulls_allowed(name, expect):
            infinite = f", {column.infinite} infinite values" * bool(column.infinite)
            wrong.append(f"{name}: {column.nulls} nulls or NaNs{infinite}")
    expected = "expected finite numbers; clean the source, or allow a share with nulls_at_most"
    if wrong:
        return False, f"{_listed(wrong)} ({len(wrong)} columns): {expected}"
    return True, f"all {len(version.features)} features are finite"


def _nulls_allowed(name: str, expect: Expectations) -> float:
    return max(
        (c.nulls_at_most for p, c in expect.columns.items() if fnmatchcase(name, p)), default=0.0
    )


def _columns(version: DatasetVersion, expect: Expectations) -> Judged:
    every, rows = version.profile.every(), version.rows
    wrong = []
    for pattern, rule in expect.columns.items():
        matching = [c for name, c in every.items() if name == pattern or fnmatchcase(name, pattern)]
        if not matching:
            wrong.append(f"no column matches {pattern!r}{_why_absent(version, pattern)}")
        for column in matching:
            if column.nulls / max(1, rows) > rule.nulls_at_most:
                wrong.append(f"{column.name}: {column.nulls} nulls in {rows} rows")
            if rule.range is not None and column.nulls < rows:
                wrong += _outside(column, rule.range)
    return not wrong, _listed(wrong) or f"every declared expectation holds ({len(expect.columns)})"


def _why_absent(version: DatasetVersion, pattern: str) -> str:
    """What a remark says of a column that is not there."""
    reasons = [r.reason for r in version.remarks if fnmatchcase(r.subject, pattern)]
    return f" ({reasons[0]})" if reasons else ""


def _outside(column: ColumnProfile, bounds: Bounds) -> Iterator[str]:
    low, high = column.low, column.high
    if column.infinite:
        yield f"{column.name}: {column.infinite} infinite values, expected {_range(bounds)}"
    elif low is None or high is None:
        yield f"{column.name}: values of type {column.type}, expected numbers {_range(bounds)}"
    elif not _within(low, high, bounds):
        yield f"{column.name}: values from {low:g} to {high:g}, expected {_range(bounds)}"


def _labels(version: DatasetVersion) -> Judged:
    if version.label is None:
        return True, "no label"
    column = version.profile.column(version.label)
    if column.nulls or column.infinite:
        infinite = f", {column.infinite} infinite values" * bool(column.infinite)
        return False, (
            f"{column.nulls} rows have no {version.label} (null or NaN){infinite}; expected a "
            "label in each: clean the source, or leave the rows out with an sql: query"
        )
    if version.task == "classification":
        classes = version.classes
        if len(classes) < 2:
            return False, f"only one class {classes} in {version.label}; expected at least two"
        return True, f"{len(classes)} classes ({version.task_reason})"
    if column.low is not None and column.low == column.high:
        return False, f"every {version.label} is {column.low:g}; expected different numbers"
    what = "texts to write" if version.task == "text-generation" else "finite numbers"
    return True, f"{what} ({version.task_reason})"


def _classes(version: DatasetVersion, expect: Expectations) -> Judged:
    if version.task != "classification":
        return True, "the label has no classes" if version.label else "no label"
    counts = version.profile.class_counts
    total = max(1, sum(counts.values()))
    shares = expect.class_share or Bounds(at_least=0)
    fewest = expect.class_rows or Bounds(at_least=2)
    unlike = {c: n / total for c, n in counts.items() if not _within(n / total, n / total, shares)}
    wrong = [f"{name}: {share:.3f}" for name, share in unlike.items()]
    if wrong:
        return False, f"shares {_listed(wrong, ', ')}, expected {_range(shares)}"
    wrong = [f"{name}: {n}" for name, n in counts.items() if not _within(n, n, fewest)]
    if wrong:
        return False, (
            f"rows by class {_listed(wrong, ', ')} ({len(wrong)} classes), expected "
            f"{_range(fewest)}; add rows, leave the classes out, or declare expect: class_rows"
        )
    return True, f"{len(counts)} classes of {min(counts.values(), default=0)} rows or more"


def _splits(version: DatasetVersion, expect: Expectations) -> Judged:
    if not version.splits:
        return True, "the version was written before splits were recorded"
    rows = {name: split.rows for name, split in version.splits.items()}
    text = ", ".join(f"{name}: {count} rows" for name, count in rows.items())
    if not all(rows.values()):
        which = "both" if len(rows) == 2 else "all"
        return False, f"{text}; expected rows in {which}: add rows, or declare another split"
    fewest = (expect.class_rows or Bounds(at_least=2)).at_least or 0
    needed = list(rows) if fewest >= 2 else ["train"]
    wrong = []
    for name in needed if version.label and version.task == "classification" else ():
        counts = version.splits[name].class_counts
        if absent := [c for c in version.classes if not counts.get(c)]:
            wrong.append(f"the {name} split has no row of {_listed(absent, ', ')}")
    if wrong:
        return False, f"{'; '.join(wrong)}; expected every class in it: add rows of the classes"
    return True, text


def _complete(version: DatasetVersion) -> Judged:
    if not version.remarks:
        return True, "nothing was left out or converted"
    remarks = [str(remark) for remark in version.remarks]
    return False, (
        f"{_listed(remarks)} ({len(remarks)} remarks); expected none: clean the source, or say "
        "under read: how it is meant"
    )


def _listed(items: list[str], between: str = "; ") -> str:
    rest = f"{between}..." * (len(items) > MOST_NAMED)
    return f"{between.join(items[:MOST_NAMED])}{rest}"


def _within(low: Any, high: Any, bounds: Bounds) -> bool:
    too_low = bounds.at_least is not None and low < bounds.at_least
    too_high = bounds.at_most is not None and high > bounds.at_most
    return not (too_low or too_high)


def _range(bounds: Bounds) -> str:
    if bounds.at_most is None:
        return f"at least {bounds.at_least:g}"
    if bounds.at_least is None:
        return f"at most {bounds.at_most:g}"
    return f"{bounds.at_least:g} to {bounds.at_most:g}"
