"""Tables in files of one format, local or in a bucket."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from projects.dataset import Reading
from resources.datasets.columns import UnusableColumns, require_distinct
from resources.datasets.remarks import Remark
from resources.datasets.sources.csv_files import read_csv
from resources.datasets.sources.encodings import TextFile, as_utf8
from resources.datasets.sources.json_files import read_json
from resources.datasets.sources.listing import (
    FORMATS,
    Found,
    FoundFile,
    absolute,
    answering,
    found_at,
)
from resources.datasets.sources.parquet_files import read_parquet
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.text_columns import Place, TextColumn, typed

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def read_files(address: str, base: Path, read: Reading, label: str | None) -> SourceRows:
    """All rows of the files at the address, in the order of their paths.

    Raises SourceUnreadable or SourceUnreachable.
    """
    place = absolute(address, base)
    files = found_at(place, FORMATS)
    kind = _format_of(place, files)
    if kind == "parquet":
        table, counts, remarks = read_parquet(files.system, files.files, read)
    else:
        with _texts(files, read) as (texts, about):
            table, counts, remarks = _read_texts(kind, texts, read, label)
            remarks = [*about, *remarks]
    table, more = with_partitions(table, files.files, counts, label)
    return SourceRows(table, (*files.remarks(address), *remarks, *more))


def _format_of(place: str, files: Found) -> str:
    if not files.files:
        others = f" (it has {', '.join(files.others[:4])})" if files.others else ""
        raise SourceUnreadable(
            f"no file matches {place}{others}; expected Parquet, CSV or JSON under names that do "
            f"not start with . or _ and end in {', '.join(FORMATS)}"
        )
    formats = {FORMATS.get(PurePath(file.path).suffix.lower()) for file in files.files}
    if len(formats) != 1 or None in formats:
        raise SourceUnreadable(
            f"{place} holds {sorted({PurePath(f.path).suffix for f in files.files})}; expected "
            f"files of one format among {', '.join(FORMATS)}"
        )
    return str(formats.pop())


def _read_texts(
    kind: str, texts: list[TextFile], read: Reading, label: str | None
) -> tuple[pa.Table, list[int], list[Remark]]:
    if kind == "csv":
        return read_csv(texts, read, label)
    return read_json(texts, read, label)


@contextmanager
def _texts(files: Found, read: Reading) -> Iterator[tuple[list[TextFile], list[Remark]]]:
    """The files on this machine and in UTF-8, for as long as they are read."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orrery-source-")))
        texts, remarks = [], []
        for number, file in enumerate(files.files):
            path = Path(file.path)
            if files.system is not None:
                # Numbered, because files of different folders may have the same name.
                path = _fetched(files.system, file, folder / f"{number:06d}-{path.name}")
            with answering(f"{file.name} cannot be read"):
                text, remark = as_utf8(path, file.name, read.encoding, folder)
            texts.append(text)
            remarks += [remark] if remark else []
        yield texts, remarks


def _fetched(system: Any, file: FoundFile, target: Path) -> Path:
    with (
        answering(f"{file.name} cannot be read"),
        system.open_input_stream(file.path) as source,
        target.open("wb") as copy,
    ):
        while chunk := source.read(1 << 20):
            copy.write(chunk)
    return target


def with_partitions(
    table: pa.Table, files: list[FoundFile], counts: list[int], label: str | None
) -> tuple[pa.Table, list[Remark]]:
    """The table with a column for every `key=value` folder that the files lie in."""
    folders = [_partition(file.name) for file in files]
    keys = list(folders[0])
    if any(list(folder) != keys for folder in folders):
        odd = next(f.name for f, folder in zip(files, folders, strict=True) if list(folder) != keys)
        raise SourceUnreadable(
            f"{odd} and {files[0].name} lie in folders of other names; expected the same key=value "
            "folders above every file"
        )
    remarks = []
    for key in keys:
        if key in table.column_names:
            reason = "the files have a column of the folders' name, whose values are kept"
            remarks.append(Remark(subject=key, action="left_out", count=len(files), reason=reason))
            continue
        values = [f[key] for f, n in zip(folders, counts, strict=True) for _ in range(n)]
        text = pa.chunked_array([pa.array(values, pa.string())])
        column, about = typed(TextColumn(key, text, key == label, lambda _: Place(None, None)))
        table = table.append_column(key, column)
        remarks += about
    try:
        require_distinct(table.column_names)
    except UnusableColumns as error:
        raise SourceUnreadable(f"{files[0].name}: {error}") from error
    return table, remarks


def _partition(name: str) -> dict[str, str | None]:
    """Value by key of the `key=value` folders in a path."""
    parts = [part.partition("=") for part in PurePath(name).parent.parts if "=" in part]
    values = {key: unquote(value) for key, _, value in parts if key}
    return {key: None if value == HIVE_NULL else value for key, value in values.items()}
