"""SQL queries over files of this machine, answered by DuckDB."""

from pathlib import Path

import pyarrow as pa

from projects.dataset import Reading
from resources.datasets.sources.declared_types import plain_as_declared
from resources.datasets.sources.rows import SourceRows, SourceUnreadable


def read_query(query: str, base: Path, read: Reading) -> SourceRows:
    """The rows of the query, in the order of their values. Raises SourceUnreadable."""
    import duckdb

    try:
        with duckdb.connect() as connection:
            connection.execute("SET file_search_path = ?", [str(base)])
            relation = connection.sql(query)
            if relation is None:
                raise SourceUnreadable(f"the query gives no rows; expected a SELECT: {query}")
            table = relation.to_arrow_table()
    except duckdb.Error as error:
        raise SourceUnreadable(f"{failure_of(error)}: {query}") from error
    return ordered(table, query, read)


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


def ordered(table: pa.Table, query: str, read: Reading) -> SourceRows:
    """The rows in the order of their values: a query without ORDER BY may give them in any, and
    the version must not depend on it."""
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceUnreadable(
            f"the query gives {', '.join(twice)} more than once; name columns apart with AS: "
            f"{query}"
        )
    table, remarks = plain_as_declared(table, read, f"the query {query}")
    orderable = [f.name for f in table.schema if not pa.types.is_null(f.type)]
    if not orderable:
        raise SourceUnreadable(
            "the query gives no column of numbers, text, times or booleans; expected at least "
            f"one: {query}"
        )
    table = table.sort_by([(name, "ascending") for name in orderable])
    return SourceRows(table, tuple(remarks))
