"""What a dataset version contains, in numbers: computed by DuckDB, judged by expectations."""

from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import pyarrow as pa

from engine.protocol import Contract
from projects.schema import Bounds, Expectations
from resources.columns import is_number


class ColumnProfile(Contract):
    """Numbers of one column."""

    name: str
    type: str
    nulls: int
    """Nulls and NaNs."""
    low: float | None = None
    high: float | None = None
    mean: float | None = None


class Profile(Contract):
    """Numbers of one dataset version."""

    rows: int
    columns: list[ColumnProfile]
    class_counts: dict[str, int] = {}
    """Rows by label, where the label is discrete."""

    def column(self, name: str) -> ColumnProfile:
        """The column's numbers. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


class Claim(NamedTuple):
    """One thing that must hold for a dataset version, and whether it does."""

    name: str
    holds: bool
    message: str


def profile_of(table: pa.Table, label: str | None) -> Profile:
    """Rows, nulls, range and mean of every column, and the balance of a discrete label."""
    import duckdb

    with duckdb.connect() as connection:
        connection.register("rows_of_dataset", table)
        columns = [_column(connection, field) for field in table.schema]
        counts: dict[str, int] = {}
        if label is not None and not pa.types.is_floating(table.schema.field(label).type):
            counts = dict(
                connection.execute(
                    f"SELECT cast({_quoted(label)} AS varchar) AS l, count(*) FROM rows_of_dataset "
                    "WHERE l IS NOT NULL GROUP BY l ORDER BY l LIMIT 1000"
                ).fetchall()
            )
    return Profile(rows=table.num_rows, columns=columns, class_counts=counts)


def _column(connection: Any, field: pa.Field) -> ColumnProfile:
    name = _quoted(field.name)
    if pa.types.is_floating(field.type):
        missing, value = f"({name} IS NULL OR isnan({name}))", name
    else:
        missing, value = f"({name} IS NULL)", f"cast({name} AS double)"
    nulls = connection.execute(f"SELECT count(*) FROM rows_of_dataset WHERE {missing}").fetchone()[
        0
    ]
    profile = ColumnProfile(name=field.name, type=str(field.type), nulls=nulls)
    if not is_number(field.type):
        return profile
    low, high, mean = connection.execute(
        f"SELECT min({value}), max({value}), avg({value}) FROM rows_of_dataset WHERE NOT {missing}"
    ).fetchone()
    return profile.model_copy(update={"low": low, "high": high, "mean": mean})


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def claims(
    profile: Profile, expect: Expectations, features: list[str], label: str | None
) -> list[Claim]:
    """Every claim about a dataset version: the declared ones, and those any training needs."""
    return [
        _rows_claim(profile, expect.rows),
        _finite_claim(profile, features, expect),
        _columns_claim(profile, expect),
        _classes_claim(profile, expect, label),
    ]


CLAIMS = (
    "has_enough_rows",
    "features_are_finite",
    "columns_are_as_expected",
    "classes_are_balanced",
)


def _rows_claim(profile: Profile, bounds: Bounds | None) -> Claim:
    wanted = bounds or Bounds(at_least=2)
    return Claim(
        CLAIMS[0],
        _within(profile.rows, profile.rows, wanted),
        f"{profile.rows} rows, expected {_range(wanted)}",
    )


def _finite_claim(profile: Profile, features: list[str], expect: Expectations) -> Claim:
    wrong = []
    for name in features:
        column = profile.column(name)
        infinite = any(abs(v or 0) == float("inf") for v in (column.low, column.high))
        share = column.nulls / max(1, profile.rows)
        if infinite or share > _nulls_allowed(name, expect):
            wrong.append(f"{name}: {column.nulls} nulls or NaNs{', infinite values' * infinite}")
    expected = "expected finite numbers; clean the source, or allow a share with nulls_at_most"
    return Claim(
        CLAIMS[1],
        not wrong,
        f"{'; '.join(wrong[:5])} ({len(wrong)} columns): {expected}"
        if wrong
        else f"all {len(features)} features are finite",
    )


def _nulls_allowed(name: str, expect: Expectations) -> float:
    return max(
        (c.nulls_at_most for p, c in expect.columns.items() if fnmatchcase(name, p)), default=0.0
    )


def _columns_claim(profile: Profile, expect: Expectations) -> Claim:
    wrong = []
    for pattern, rule in expect.columns.items():
        matching = [c for c in profile.columns if fnmatchcase(c.name, pattern)]
        if not matching:
            wrong.append(f"no column matches {pattern!r}")
        for column in matching:
            if column.nulls / max(1, profile.rows) > rule.nulls_at_most:
                wrong.append(f"{column.name}: {column.nulls} nulls in {profile.rows} rows")
            if rule.range is not None and column.nulls < profile.rows:
                wrong += _outside(column, rule.range)
    message = "; ".join(wrong[:5]) or f"every declared expectation holds ({len(expect.columns)})"
    return Claim(CLAIMS[2], not wrong, message)


def _outside(column: ColumnProfile, bounds: Bounds) -> list[str]:
    low, high = column.low, column.high
    if low is None or high is None:
        return [f"{column.name}: values of type {column.type}, expected numbers {_range(bounds)}"]
    if _within(low, high, bounds):
        return []
    return [f"{column.name}: values from {low:g} to {high:g}, expected {_range(bounds)}"]


def _classes_claim(profile: Profile, expect: Expectations, label: str | None) -> Claim:
    if label is None or (not profile.class_counts and profile.column(label).nulls < profile.rows):
        return Claim(CLAIMS[3], True, "the label is not discrete" if label else "no label")
    missing = profile.column(label).nulls
    if missing:
        return Claim(CLAIMS[3], False, f"{missing} rows have no {label}; expected a label in each")
    counts = profile.class_counts
    if len(counts) < 2:
        return Claim(
            CLAIMS[3], False, f"only one class {sorted(counts)} in {label}; expected at least two"
        )
    total = sum(counts.values())
    wanted = expect.class_share or Bounds(at_least=0)
    wrong = {c: n / total for c, n in counts.items() if not _within(n / total, n / total, wanted)}
    shares = ", ".join(f"{c}: {share:.3f}" for c, share in wrong.items())
    return Claim(
        CLAIMS[3],
        not wrong,
        f"shares {shares}, expected {_range(wanted)}" if wrong else f"{len(counts)} classes",
    )


def _within(low: Any, high: Any, bounds: Any) -> bool:
    too_low = bounds.at_least is not None and low < bounds.at_least
    too_high = bounds.at_most is not None and high > bounds.at_most
    return not (too_low or too_high)


def _range(bounds: Any) -> str:
    if bounds.at_most is None:
        return f"at least {bounds.at_least:g}"
    if bounds.at_least is None:
        return f"at most {bounds.at_most:g}"
    return f"{bounds.at_least:g} to {bounds.at_most:g}"
