"""SQL queries over files of this machine, answered by DuckDB."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from projects.dataset import Reading
from resources.datasets.remarks import Remark, merged
from resources.datasets.sources import large
from resources.datasets.sources.answers import batches_of
from resources.datasets.sources.declared_types import plain_as_declared
from resources.datasets.sources.listing import Found, FoundFile
from resources.datasets.sources.parquet_stream import ParquetStream, is_steady
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.spool import Spool

SORTING_MEMORY = "1GiB"
"""Memory in which DuckDB sorts rows, beside files of its own."""


def read_query(
    query: str, base: Path, read: Reading, spool: Spool | None = None
) -> SourceRows | ParquetStream:
    """The rows of the query, in the order of their values; with a spool a stream of them where
    they are large and of steady types. Raises SourceUnreadable."""
    import duckdb

    with answered(query), duckdb.connect() as connection:
        connection.execute("SET file_search_path = ?", [str(base)])
        return rows_of(connection.sql(query), query, read, spool)


@contextmanager
def answered(query: str) -> Iterator[None]:
    """Raise DuckDB's errors as SourceUnreadable."""
    import duckdb

    try:
        yield
    except (duckdb.Error, pa.ArrowException) as error:
        raise SourceUnreadable(f"{failure_of(error)}: {query:.200}") from error


def rows_of(
    relation: Any, query: str, read: Reading, spool: Spool | None
) -> SourceRows | ParquetStream:
    """What `read_query` gives, of DuckDB's answer to the query. Raises SourceUnreadable,
    duckdb.Error or pa.ArrowException."""
    if relation is None:
        raise SourceUnreadable(f"the query gives no rows; expected a SELECT: {query:.200}")
    if spool is None:
        return _ordered(relation.to_arrow_table(), query, read)
    batches = batches_of(relation)
    held, size = list[pa.RecordBatch](), 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= large.LARGE_BYTES and is_steady(batch.schema, read):
            return _spooled(_drained(held, batches), query, read, spool)
    return _ordered(pa.Table.from_batches(held), query, read)


def _drained(
    held: list[pa.RecordBatch], rest: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """All batches, of which none stays in memory."""
    while held:
        yield held.pop(0)
    yield from rest


def _spooled(
    batches: Iterable[pa.RecordBatch], query: str, read: Reading, spool: Spool
) -> ParquetStream:
    """The rows on disk, in order."""
    import duckdb
    import pyarrow.parquet as pq

    remarks: list[Remark] = []

    def plain() -> Iterator[pa.Table]:
        for batch in batches:
            table, about = _plain(pa.Table.from_batches([batch]), query, read)
            remarks.extend(about)
            yield table

    unordered = spool.write(plain())
    schema = pq.read_schema(unordered)
    by = ", ".join('"' + name.replace('"', '""') + '" NULLS LAST' for name in schema.names)
    with duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = '{spool.root}'")
        connection.execute(f"SET memory_limit = '{SORTING_MEMORY}'")
        rows = connection.sql(f"FROM read_parquet(?) ORDER BY {by}", params=[str(unordered)])
        tables = (pa.Table.from_batches([batch]).cast(schema) for batch in batches_of(rows))
        ordered = spool.write(tables)
    unordered.unlink()
    found = Found(None, [FoundFile(str(ordered), "the rows of the query")], [])
    return ParquetStream(found, read, None, merged(remarks), is_spooled=True)


def failure_of(error: Exception) -> str:
    """DuckDB's error in one sentence, with what is to be done where that is known."""
    message = str(error)
    first = "the query failed: " + " ".join(message.split("\n\n", maxsplit=1)[0].split())
    if "httpfs" in message or "s3://" in message:
        return f"{first}; sql: reads files of this machine only, declare files: for a bucket"
    if "Could not convert string" in message or "Error when converting" in message:
        return (
            f"{first}; read the column as text with read_csv(..., types = {{...}}) or all rows "
            "for its type with sample_size = -1"
        )
    return first


def _plain(table: pa.Table, query: str, read: Reading) -> tuple[pa.Table, list[Remark]]:
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceUnreadable(
            f"the query gives {', '.join(twice)} more than once; name columns apart with AS: "
            f"{query}"
        )
    return plain_as_declared(table, read, f"the query {query}")


def _ordered(table: pa.Table, query: str, read: Reading) -> SourceRows:
    """The rows in the order of their values: a query without ORDER BY may give them in any, and
    the version must not depend on it."""
    table, remarks = _plain(table, query, read)
    orderable = [f.name for f in table.schema if not pa.types.is_null(f.type)]
    if not orderable:
        raise SourceUnreadable(
            "the query gives no column of numbers, text, times or booleans; expected at least "
            f"one: {query}"
        )
    table = table.sort_by([(name, "ascending") for name in orderable])
    return SourceRows(table, tuple(remarks))
