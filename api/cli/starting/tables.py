"""A project from a table in a file: columns, label, split, trainer, suite, and a gate beside the
score of a baseline."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.cli.starting.draft import CannotStart, Draft, Request, address, rounded_up, scalar
from api.cli.starting.trial import Trial
from projects.dataset import Dataset
from projects.nearest import hint
from resources.datasets.columns import UnusableColumns
from resources.datasets.sources import SourceRows, Sources, SourceUnreadable
from resources.datasets.store import DatasetStore
from resources.datasets.version import DatasetVersion
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs

SUFFIXES = (".csv", ".parquet", ".json", ".jsonl")
USUAL_LABELS = ("target", "label", "class", "y", "outcome", "category")
TRAINER = "training.tables:train"
CHOICES = (
    {"learner": "boosted_trees", "iterations": 100},
    {"learner": "linear", "iterations": 1000},
)
"""Hyperparameters that are tried; the better on set-aside training rows is declared."""
FEWEST_ROWS = 20
SLICED = 5
"""Most categories of a column whose slices are looked at."""


def recognises(source: str) -> bool:
    """Whether the source is a table in a file."""
    return source.lower().endswith(SUFFIXES) and Path(source).is_file()


@dataclass(frozen=True)
class Origin:
    """Where the model of the table comes from."""

    noun: str
    """As it is named beside its score."""
    trainer: str
    choices: Sequence[dict[str, Any]]
    """Hyperparameters that are tried; the better on set-aside training rows are declared."""
    is_learned: bool = True
    """Whether the columns are chosen here; a model that is there has had its own."""


LEARNED = Origin("a small model", TRAINER, CHOICES)


def draft(request: Request, origin: Origin = LEARNED) -> Draft:
    """The project of the table. Raises CannotStart."""
    table = _read(request)
    label = _label(request, table)
    dropped = _identifiers(table, label) if origin.is_learned else []
    with tempfile.TemporaryDirectory(prefix="orrery-init-") as folder:
        version = _written(request, table, label, dropped, Path(folder))
        request.say(f"trying {origin.noun} on the rows, to know what can be reached ...")
        trial = Trial.of(
            origin.noun,
            version,
            origin.trainer,
            origin.choices,
            _suite(version),
            Path(folder),
        )
    parts = _Parts(request, version, label, dropped, trial, origin)
    return Draft(request.name, "\n".join(_lines(parts)) + "\n", list(_seen(parts)))


@dataclass(frozen=True)
class _Parts:
    """What the file is written from."""

    request: Request
    version: DatasetVersion
    label: str
    dropped: list[str]
    trial: Trial
    origin: Origin

    @property
    def nullable(self) -> dict[str, float]:
        """Share of missing values that is expected at most, by column: twice what there is."""
        profile = self.version.profile.every()
        found = {c.name: profile[c.name].nulls / self.version.rows for c in self.version.columns}
        return {name: min(1.0, rounded_up(2 * share)) for name, share in found.items() if share}


def _suite(version: DatasetVersion) -> dict[str, Any]:
    """The suite that fits the columns."""
    if {column.kind for column in version.columns} == {"text"}:
        return {"kind": "text"}
    sliced = _sliced(version)
    return {"kind": "tabular", **({"slices": sliced} if sliced else {})}


def _sliced(version: DatasetVersion) -> list[str]:
    """Columns of few categories, and booleans."""
    return [
        c.name
        for c in version.columns
        if c.kind == "boolean" or (c.kind == "category" and len(c.categories) <= SLICED)
    ][:SLICED]


def _read(request: Request) -> SourceRows:
    declared = Dataset(source=f"files:{address(request.source, request.folder)}")
    with tempfile.TemporaryDirectory() as state:
        objects = ObjectStore(f"{state}/objects", Path(state, "cache"))
        try:
            rows = Sources(objects, RequestLogs(Path(state), objects)).read(
                request.name, declared, request.folder
            )
        except SourceUnreadable as error:
            raise CannotStart(str(error)) from error
    if rows.table.num_rows < FEWEST_ROWS:
        raise CannotStart(
            f"{request.source} has {rows.table.num_rows} rows, expected at least {FEWEST_ROWS} to "
            "learn from and to hold out"
        )
    return rows


def _label(request: Request, rows: SourceRows) -> str:
    names = rows.table.column_names
    if len(names) < 2:
        raise CannotStart(f"{request.source} has one column, expected a label and features")
    usual = [name for name in names if name.lower() in USUAL_LABELS]
    label = request.label or request.ask(
        "Which column is to be predicted?", (usual or names[-1:])[0], names
    )
    if label not in names:
        raise CannotStart(f"{request.source} has no column {label!r}{hint(label, names)}")
    return label


def _identifiers(rows: SourceRows, label: str) -> list[str]:
    """Columns that name a row and say nothing of it: a short text that never comes twice."""
    import pyarrow as pa

    from resources.datasets.arrow import pc

    found = []
    for name in rows.table.column_names:
        values = rows.table.column(name)
        if name == label or not pa.types.is_string(values.type):
            continue
        known = values.drop_null()
        has_words = pc.any(pc.match_substring(known, " ")).as_py()
        if len(known) and pc.count_distinct(known).as_py() == len(known) and not has_words:
            found.append(name)
    return found


def _written(
    request: Request, rows: SourceRows, label: str, dropped: list[str], folder: Path
) -> DatasetVersion:
    table = rows.table.drop_columns(dropped)
    declared = Dataset(source=f"files:{address(request.source, request.folder)}", label=label)
    store = DatasetStore(ObjectStore(str(folder / "objects"), folder / "cache"))
    try:
        return store.write(request.name, "rows", declared, SourceRows(table))
    except UnusableColumns as error:
        raise CannotStart(str(error)) from error


def _seen(parts: _Parts) -> Iterator[str]:
    version = parts.version
    kinds = [c.kind for c in version.columns]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    yield f"{version.rows} rows; columns: {counted}"
    yield f"{version.task} of {parts.label!r}: {version.task_reason}"
    if parts.dropped:
        yield f"left out, because every value is another: {', '.join(parts.dropped)}"
    yield parts.trial.sentence


def _lines(parts: _Parts) -> Iterator[str]:
    request, version = parts.request, parts.version
    yield f"project: {request.name}"
    yield "owner: team:me                       # who answers for it: team:NAME, or an address"
    yield ""
    yield "datasets:"
    yield "  rows:"
    yield f"    source: {scalar('files:' + address(request.source, request.folder))}"
    yield f"    label: {scalar(parts.label)}"
    yield f"    task: {version.task}"
    if parts.dropped:
        yield f"    read: {{drop: [{', '.join(map(scalar, parts.dropped))}]}}"
    yield "    split: {test: 0.25, seed: 0}     # rows that no training sees"
    yield "    expect:"
    yield f"      rows: {{at_least: {max(2, version.rows // 2)}}}"
    if parts.nullable:
        yield "      columns:                       # where values may be missing, and how many"
        for name, share in parts.nullable.items():
            yield f"        {scalar(name)}: {{nulls_at_most: {share:g}}}"
    yield ""
    yield "models:"
    yield "  model:"
    yield "    dataset: rows"
    yield from _model_lines(parts)
    yield ""
    yield "simulations:"
    yield "  hard-rows:"
    yield "    model: model"
    yield from _suite_lines(_suite(version))
    yield "    gate:"
    yield f"      {parts.trial.gate}"
    yield ""
    yield "services:"
    yield "  api: {model: model}                # takes rows by column name"
    yield ""
    yield "automation:"
    yield "  retrain: {on: [new_data, drift]}"


def _suite_lines(suite: dict[str, Any]) -> Iterator[str]:
    changes = {"tabular": "noise, gaps, swaps, drift", "text": "typos, lost words, capitals, cuts"}
    yield f"    suite:                           # held-out rows with {changes[suite['kind']]}"
    yield f"      kind: {suite['kind']}"
    if slices := suite.get("slices"):
        yield f"      slices: [{', '.join(map(scalar, slices))}]"


def _model_lines(parts: _Parts) -> Iterator[str]:
    chosen = parts.trial.hyperparameters
    if not parts.origin.is_learned:
        place = address(chosen["model"], parts.request.folder)
        yield f"    from: {scalar(place)}    # a changed file becomes a new version"
        return
    yield f"    trainer: {TRAINER}     # or a function of yours: module:function"
    values = ", ".join(f"{name}: {value}" for name, value in chosen.items())
    yield f"    hyperparameters: {{{values}}}"
