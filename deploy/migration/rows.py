"""Rows as either database holds them: the same values, in one canonical form."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    cast,
)

DIGEST_BYTES = 32


class Fingerprint(NamedTuple):
    """How many rows a table has, and what they are."""

    rows: int
    sha256: str
    """Over the sorted SHA-256 of its rows in canonical JSON."""


class Fingerprinting:
    """Takes the rows of a table, in any order."""

    def __init__(self, table: Table) -> None:
        self._canonical = [(c.name, _canonical(c)) for c in columns_of(table)]
        self._digests = bytearray()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row."""
        values = [
            None if row[name] is None else canonical(row[name])
            for name, canonical in self._canonical
        ]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        self._digests += hashlib.sha256(text.encode()).digest()

    def value(self) -> Fingerprint:
        """The fingerprint of all rows taken."""
        digests = np.sort(np.frombuffer(bytes(self._digests), f"S{DIGEST_BYTES}"))
        return Fingerprint(len(digests), hashlib.sha256(digests.tobytes()).hexdigest())


def columns_of(table: Table) -> list[Column[Any]]:
    """The columns that are written; what the database computes is not."""
    return [column for column in table.columns if column.computed is None]


def texts_of(table: Table) -> list[str]:
    """Names of the columns that hold text or JSON."""
    return [c.name for c in columns_of(table) if isinstance(c.type, (String, JSON))]


def in_sqlite(table: Table) -> Table:
    """The same table as SQLite is asked for it; JSON comes as its text."""
    columns = [
        Column(c.name, Text() if isinstance(c.type, JSON) else c.type.as_generic())
        for c in columns_of(table)
    ]
    return Table(table.name, MetaData(), *columns)


def in_postgresql(table: Table) -> list[ColumnElement[Any]]:
    """The same columns as PostgreSQL is asked for them."""
    return [
        cast(c, Text).label(c.name) if isinstance(c.type, JSON) else c for c in columns_of(table)
    ]


def to_insert(table: Table) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What makes a row as PostgreSQL takes it."""
    documents = [c.name for c in columns_of(table) if isinstance(c.type, JSON)]

    def parsed_row(row: dict[str, Any]) -> dict[str, Any]:
        parsed = {name: _document(row[name]) for name in documents}
        return {**row, **parsed}

    return parsed_row


def _document(text: str | None) -> Any:
    """A missing document stays missing, and one that is `null` stays one."""
    if text is None:
        return None
    value = json.loads(text)
    return JSON.NULL if value is None else value


def _canonical(column: Column[Any]) -> Callable[[Any], Any]:
    kind = column.type
    pairs: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
        (JSON, json.loads),
        (Boolean, bool),
        (Integer, int),
        ((Float, Numeric), float),
        (LargeBinary, lambda value: bytes(value).hex()),
        ((DateTime, Date), lambda value: value.isoformat()),
    )
    return next((target for classes, target in pairs if isinstance(kind, classes)), str)
