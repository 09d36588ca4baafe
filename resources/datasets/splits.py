"""Which rows are learned from, which choose between models, and which are held out.

Rows are drawn one class at a time, and the split of a row depends on the seed, its class and the
number of rows of the class before it alone: rows that are appended leave the others where they are.
Groups in a random order, and times from the newest on, are divided as a whole: the first units are
test rows, the next ones validation rows, the rest is learned from. Shapes: N rows, U units.
"""

import hashlib

import numpy as np
import pyarrow as pa

from projects.dataset import JudgedTask, Split
from resources.datasets.arrow import pc
from resources.datasets.columns import UnusableColumns, is_number
from resources.datasets.tasks import decide

SPLITS = ("train", "test", "validation")
"""Names of the splits by their codes."""
TRAIN, TEST, VALIDATION = range(3)
FIRST = 3
"""Rows of a class that are not drawn: one is learned from, one tested, and the third a validation
row where those are declared."""


def names_of(split: Split) -> list[str]:
    """Names of the splits that the declaration asks for."""
    return list(SPLITS if split.validation else SPLITS[:VALIDATION])


def split_of(
    rows: int,
    labels: pa.ChunkedArray | None,
    split: Split,
    task: JudgedTask | None = None,
    by: pa.ChunkedArray | None = None,
) -> np.ndarray:
    """Code of every row's split, int8 [N]: a seeded draw, stratified by the classes of the label;
    the task is inferred from the label where it is not given.

    Every class of two rows or more has rows in train and test, and of three or more in validation
    where it is declared. Of the first rows of each class, however many, the test rows are the
    declared share within two rows, and the validation rows within three; they stay what they are
    when rows are appended. `by` is the column of `split.group` or `split.time`, which divide all
    rows anew. Groups are stratified by the class that most of their rows have. Raises
    UnusableColumns where the column cannot divide the rows.
    """
    if split.time is not None and by is not None:
        return _by_time(_times(split.time, by), split)
    if labels is not None and (task or decide("", labels, None).task) != "classification":
        labels = None
    if split.group is not None and by is not None:
        classes = None if labels is None else _codes(labels)
        return _by_group(_groups(split, by), classes, split)
    if labels is None or not rows:
        return _drawn(rows, "rows", split)
    codes = np.empty(rows, np.int8)
    for members in _members(_codes(labels)):
        value = labels[int(members[0])].as_py()
        name = "no class" if value is None else f"class {value}"
        codes[members] = _drawn(len(members), name, split)
    return codes


def _drawn(rows: int, name: str, split: Split) -> np.ndarray:
    """Split of each of so many rows of a class, int8 [N]."""
    codes = np.full(rows, TRAIN, np.int8)
    codes[:FIRST] = (TRAIN, TEST, VALIDATION if split.validation else TRAIN)[:rows]
    if rows <= FIRST:
        return codes
    drawn = codes[FIRST:]
    is_test = _spread(len(drawn), split.test, (FIRST, 1), f"{split.seed} test {name}")
    drawn[is_test] = TEST
    if split.validation:
        others = np.flatnonzero(~is_test)
        share = split.validation / (1 - split.test)
        seed = f"{split.seed} validation {name}"
        drawn[others[_spread(len(others), share, (FIRST - 1, 1), seed)]] = VALIDATION
    return codes


def _spread(rows: int, share: float, before: tuple[int, int], seed: str) -> np.ndarray:
    """Which of so many rows are chosen, bool [N], where of so many rows before them so many are.

    Rows come in windows of about one chosen row, whose place in the window is random. Up to the end
    of each window the rounded share of all rows is chosen, those before included.
    """
    first, chosen = before
    if share > 1 / 2:
        return ~_spread(rows, 1 - share, (first, first - chosen), seed)
    # No more than one row of a window is chosen, because the share of a window is at most one.
    window = int(1 / share)
    windows = -(-rows // window)
    ends = first + window * np.arange(windows + 1)
    upto = np.maximum(np.floor(share * ends + 0.5), chosen)
    # Raw words of a generator with a key, of which more are the same ones and others.
    key = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "big")
    words = np.random.Philox(key=key).random_raw(windows)
    places = window * np.arange(windows) + (words % np.uint64(window)).astype(np.int64)
    places = places[np.diff(upto) > 0]
    is_chosen = np.zeros(rows, bool)
    is_chosen[places[places < rows]] = True
    return is_chosen


def _divided(sizes: np.ndarray, split: Split) -> np.ndarray:
    """Split of every unit [U] of so many rows, in the order of the draw.

    Of two units or more, one is a test unit and one is learned from.
    """
    total, units = int(sizes.sum()), len(sizes)
    upto = np.concatenate([[0], np.cumsum(sizes)])
    tested = _nearest(upto, round(split.test * total))
    if units > 1:
        tested = min(max(tested, 1), units - 1)
    validated = 0
    if split.validation:
        wanted = upto[tested] + round(split.validation * total)
        fewest = 1 if units > 2 else 0
        tested = min(tested, units - 1 - fewest) if units > 1 else tested
        validated = max(_nearest(upto, wanted) - tested, fewest)
        validated = max(min(validated, units - tested - 1), 0)
    codes = np.full(units, TRAIN, np.int8)
    codes[:tested] = TEST
    codes[tested : tested + validated] = VALIDATION
    return codes


def _nearest(upto: np.ndarray, wanted: int) -> int:
    """How many units have nearly so many rows together."""
    after = int(np.searchsorted(upto, wanted))
    if after == 0 or after == len(upto):
        return min(after, len(upto) - 1)
    return after - 1 if wanted - upto[after - 1] < upto[after] - wanted else after


def _by_group(groups: np.ndarray, classes: np.ndarray | None, split: Split) -> np.ndarray:
    """Split of every row [N] by the codes of the groups [N] and, where there are, classes [N]."""
    generator = np.random.default_rng(split.seed)
    sizes = np.bincount(groups)
    of_groups = np.full(len(sizes), TRAIN, np.int8)
    for members in _strata(_main_class(groups, classes), len(names_of(split))):
        order = generator.permutation(members)
        of_groups[order] = _divided(sizes[order], split)
    return of_groups[groups]


def _strata(main: np.ndarray, splits: int) -> list[np.ndarray]:
    """Groups that are divided together: those of one main class, and those of all classes that
    have fewer groups than there are splits."""
    members = _members(main)
    small = [each for each in members if len(each) < splits]
    return [each for each in members if len(each) >= splits] + (
        [np.sort(np.concatenate(small))] if small else []
    )


def _main_class(groups: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    """Class that most rows of each group have [U]."""
    if classes is None:
        return np.zeros(int(groups.max()) + 1, np.int64)
    width = int(classes.max()) + 1
    pairs, counts = np.unique(groups.astype(np.int64) * width + classes, return_counts=True)
    of_group, of_class = np.divmod(pairs, width)
    # The last pair of each group has the highest count, and of equal ones the first class.
    order = np.lexsort((-of_class, counts, of_group))
    last = np.flatnonzero(np.diff(of_group[order], append=-1))
    return of_class[order][last]


def _by_time(times: np.ndarray, split: Split) -> np.ndarray:
    moments, place, sizes = np.unique(times, return_inverse=True, return_counts=True)
    _require_units(len(moments), "time", split)
    newest_first = _divided(sizes[::-1], split)
    return newest_first[::-1][place]


def _members(codes: np.ndarray) -> list[np.ndarray]:
    """Positions of every code, in the order of the codes, ascending."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=codes[order[:1]] - 1))
    return np.split(order, starts[1:])


def _codes(values: pa.ChunkedArray) -> np.ndarray:
    """A number from 0 for each different value, in the order in which they come; null is first."""
    if not pa.types.is_dictionary(values.type):
        values = values.combine_chunks().dictionary_encode()
    indices = pa.chunked_array(values) if isinstance(values, pa.Array) else values
    parts = [chunk.indices.fill_null(-1).to_numpy() for chunk in indices.chunks]
    return (np.concatenate(parts) if parts else np.zeros(0, np.int32)) + 1


def _groups(split: Split, values: pa.ChunkedArray) -> np.ndarray:
    name = split.group or ""
    _require_values(name, values, "group")
    codes = _codes(values) - 1
    _require_units(int(codes.max(initial=-1)) + 1, "group", split)
    return codes


def _times(name: str, values: pa.ChunkedArray) -> np.ndarray:
    kind = values.type
    is_time = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    if not is_time and (pa.types.is_boolean(kind) or not is_number(kind)):
        raise UnusableColumns(
            f"split: time names the column {name!r} of type {kind}, expected dates, times or "
            f"numbers; declare read: {{types: {{{name!r}: timestamp}}}} or another column"
        )
    _require_values(name, values, "time")
    if pa.types.is_date(kind):
        values = values.cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        values = values.cast(pa.int64())
    return values.to_numpy()


def _require_values(name: str, values: pa.ChunkedArray, key: str) -> None:
    absent = values.null_count
    if pa.types.is_floating(values.type):
        absent += pc.sum(pc.is_nan(values)).as_py() or 0
    if absent:
        raise UnusableColumns(
            f"{absent} of {len(values)} rows have no {name!r} (null or NaN), which split: {key} "
            "names; expected a value in each: clean the source, or leave the rows out with an "
            "sql: query"
        )


def _require_units(units: int, key: str, split: Split) -> None:
    name = split.group if key == "group" else split.time
    needed = len(names_of(split))
    if units < needed:
        values = "one value" if units == 1 else f"{units} different values"
        raise UnusableColumns(
            f"the column {name!r}, which split: {key} names, has {values}, expected at least "
            f"{needed}: one for each of {', '.join(names_of(split))}; declare another column, or "
            f"a split without {key}"
        )
