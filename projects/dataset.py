"""The declaration of a dataset: where its rows come from, how they are read, split and judged."""

import codecs
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from projects.declared import Declared
from projects.derivation import SCHEME, Derivation
from projects.placement import Memory

# `(?s:.+)` because an SQL query may have several lines.
Source = Annotated[
    str, StringConstraints(pattern=r"^(sklearn|files|images|sql|requests|from):(?s:.+)$")
]
Task = Literal["classification", "regression", "text-classification", "text-generation"]
JudgedTask = Literal["classification", "regression", "text-generation"]
"""Tasks by how predictions are judged."""
LANGUAGE = ("text-classification", "text-generation")
"""Tasks in which columns of text are texts, however few different ones there are."""
ColumnType = Literal["number", "integer", "text", "boolean", "date", "time", "timestamp"]
Character = Annotated[str, StringConstraints(min_length=1, max_length=1)]


def _text_encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError as error:
        raise ValueError(
            f"got {name!r}, expected an encoding of Python such as utf-8, latin-1 or windows-1252"
        ) from error
    return codecs.lookup(name).name


def _word(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"got {value!r:.80}, expected a word or a number")
    return value


Encoding = Annotated[str, AfterValidator(_text_encoding)]
NullWord = Annotated[int | float | str, BeforeValidator(_word)]


class Split(Declared):
    """How rows are divided into training rows, validation rows and held-out test rows."""

    test: float = Field(default=0.25, gt=0, lt=1)
    """Share of rows held out, between 0 and 1; stratified by the label of a classification, and
    at least one row of every class that has two."""
    validation: float = Field(default=0.0, ge=0, lt=1)
    """Share of rows to choose between models by while they learn, beside the test rows; at least
    one row of every class that has three."""
    seed: int = Field(default=0, ge=0)
    """Seed of the division: the same rows and seed give the same split, and rows that are appended
    leave the others in theirs."""
    group: str | None = None
    """Column whose values, such as patients, are never divided: all rows of a value are in one
    split."""
    time: str | None = None
    """Column of times or numbers: the newest rows are the test rows, those before them the
    validation rows."""

    @model_validator(mode="after")
    def _leaves_rows_to_learn_from(self) -> Self:
        if self.test + self.validation >= 1:
            raise ValueError(
                f"got test {self.test} and validation {self.validation}, expected a sum below 1: "
                "the rest is learned from"
            )
        if self.group is not None and self.time is not None:
            raise ValueError("got both group and time, expected one of them")
        return self


class Bounds(Declared):
    """An inclusive range; an absent side is open."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("got neither at_least nor at_most, expected one or both")
        if None not in (self.at_least, self.at_most) and self.at_least > self.at_most:  # type: ignore[operator]
            raise ValueError(f"got at_least {self.at_least} above at_most {self.at_most}")
        return self


class ColumnExpectation(Declared):
    """What must hold for the values of one column, or of every column a pattern names."""

    range: Bounds | None = None
    """Range that every value must lie in."""
    nulls_at_most: float = Field(default=0.0, ge=0, le=1)
    """Largest acceptable share of nulls and NaNs."""


class Expectations(Declared):
    """What must hold for a dataset version before anything is trained on it."""

    rows: Bounds | None = None
    """Number of rows."""
    class_share: Bounds | None = None
    """Share of rows of every class of the label."""
    class_rows: Bounds | None = None
    """Number of rows of every class; by default at least two, one for each split. With fewer
    allowed, a class may be absent from the test split."""
    columns: dict[str, ColumnExpectation] = {}
    """By column name or shell pattern such as `pixel_*`."""
    complete: bool = False
    """Whether the source must be read whole and as it is: nothing left out, nothing converted."""


class Reading(Declared):
    """How values are read, where the reader's own judgement is overruled."""

    types: dict[str, ColumnType] = {}
    """Type by column name or shell pattern; `time` gives seconds of the day."""
    nulls: list[NullWord] = []
    """Words and numbers that stand for a missing value, besides empty cells."""
    keep: list[str] = []
    """Columns to keep, by name or shell pattern; the label is always kept."""
    drop: list[str] = []
    """Columns to leave out, by name or shell pattern."""
    encoding: Encoding | None = None
    """Encoding of CSV and JSON files."""
    delimiter: Character | None = None
    """Character between the cells of CSV files."""
    quote: Character = '"'
    """Character around the cells of CSV files that hold delimiters or line ends."""
    decimal: Literal[".", ","] | None = None
    """Decimal sign of the numbers in CSV files."""
    thousands: Literal[",", ".", " ", "'"] | None = None
    """Sign between groups of three digits in the numbers of CSV files."""
    skip: int = Field(default=0, ge=0)
    """Lines of CSV files before the header."""
    header: bool = True
    """Whether CSV files name their columns in their first line."""
    names: list[str] = []
    """Names of the columns of CSV files in order, in place of those in the header."""

    @model_validator(mode="after")
    def _is_not_contradictory(self) -> Self:
        if self.keep and self.drop:
            raise ValueError("got both keep and drop, expected one of them")
        if self.thousands is not None and self.thousands == (self.decimal or "."):
            raise ValueError(f"got {self.thousands!r} for both thousands and decimal")
        return self

    @property
    def of_csv(self) -> list[str]:
        """Words that are declared and mean something for CSV files alone."""
        words = ("delimiter", "quote", "decimal", "thousands", "skip", "header", "names")
        return [word for word in words if word in self.model_fields_set]


class ImageSize(Declared):
    """Size that images are brought to when their pixels become columns."""

    height: int = Field(ge=1, le=256)
    width: int = Field(ge=1, le=256)
    background: int = Field(default=255, ge=0, le=255)
    """Grey that transparent images are laid over, from 0 (black) to 255 (white)."""


class Dataset(Derivation):
    """A named table or set of files; every materialisation is an immutable version."""

    source: Source
    """`sklearn:NAME`, `files:PATH` (Parquet, CSV, JSON; local, glob or s3://),
    `images:FOLDER` (local, one folder per class), `sql:QUERY` (DuckDB over files), or
    `requests:SERVICE` (the request log of a service of this project); `from` stands in its
    place."""
    label: str | None = None
    """Column to predict; without it the dataset has no held-out evaluation."""
    task: Task | None = None
    """What is predicted: one of the classes, a number, the class of a text, or a text; without it
    the values of the label decide between the first two, and the version says how."""
    features: list[str] = []
    """Columns that models learn from, by name or shell pattern; by default every column but those
    of the label, the weight and the split. Others stay in the table."""
    weight: str | None = None
    """Column that says how much a row counts in training: numbers from 0; never a feature."""
    image: ImageSize | None = None
    """For `images:` sources: also give grey pixels as columns `pixel_0`, `pixel_1`, ..., row after
    row."""
    read: Reading = Reading()
    split: Split = Split()
    expect: Expectations = Expectations()
    memory: Memory | None = None
    """Memory that reading the source takes, where it is more than a small run pod has: on a
    cluster the project's steps then run in pods of their own."""
    watch: str | None = None
    """Folder or bucket prefix whose files (Parquet, CSV or JSON of one format, with the
    source's columns) are appended to the source's rows; a new file is new data. A `files:` or
    `images:` source is watched itself."""
    description: str = ""

    @property
    def watched(self) -> str | None:
        """Where a new file means new data."""
        scheme, _, rest = self.source.partition(":")
        return self.watch or (rest if scheme in ("files", "images") else None)

    @property
    def roles(self) -> dict[str, str]:
        """Column by the key that gives it a role, of the keys that are declared."""
        named = {
            "label": self.label,
            "weight": self.weight,
            "split.group": self.split.group,
            "split.time": self.split.time,
        }
        return {key: column for key, column in named.items() if column is not None}

    def contradictions(self) -> dict[str, str]:
        """What cannot be meant, by the key that says it."""
        mistakes = {}
        reads_files = self.source.startswith("files:") or self.watch is not None
        words = [*self.read.of_csv, *(["encoding"] if self.read.encoding else [])]
        if words and not reads_files:
            mistakes[f"read.{words[0]}"] = (
                f"means something for files: only, got the source {self.source!r:.80}"
            )
        if self.source.startswith(SCHEME) and not self.from_:
            mistakes["source"] = f"got {self.source!r}, expected from: [DATASET, ...]"
        if self.from_ and self.watch is not None:
            mistakes["watch"] = "got watch beside from; watch what the dataset is made from"
        if self.task and self.label is None:
            mistakes["task"] = f"got {self.task}, expected a label to predict beside it"
        for key, column in self.roles.items():
            dropped = [p for p in self.read.drop if fnmatchcase(column, p)]
            if dropped:
                mistakes["read.drop"] = f"{dropped[0]!r} drops the {key} {column!r}"
            if key != "label" and column == self.label:
                mistakes[key] = f"got the label {column!r}, expected another column"
        for key in ("label", "weight"):
            if self.roles.get(key) in self.features:
                mistakes["features"] = (
                    f"got {self.roles[key]!r}, which is the {key} and never a feature"
                )
        return mistakes
