"""The columns that folders such as `year=2026` give the rows of the files below them."""

from pathlib import PurePath
from urllib.parse import unquote

import pyarrow as pa

from resources.datasets.columns import UnusableColumns, require_distinct
from resources.datasets.remarks import Remark
from resources.datasets.sources.listing import FoundFile
from resources.datasets.sources.rows import SourceUnreadable
from resources.datasets.sources.text_columns import FoundType
from resources.datasets.sources.text_values import nowhere

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


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
        typing = FoundType(key, key == label)
        typing.add(text)
        table = table.append_column(key, typing.converted(text, 0, nowhere))
        remarks += typing.remarks(nowhere)
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
