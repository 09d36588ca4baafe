"""The door to where rows come from: bundled sets, files and buckets, SQL over files, image
folders, and the request logs of services.

timeout: pyarrow's and DuckDB's own; bundled sets and files are local reads.
retry: none; a source that cannot be read fails the materialisation with its reason.
cancel: nothing is written here.
duplicate: reading twice gives the same table while the source stands still.
partial write: a file that is still being written is corrupt or short, and says so.
"""

import glob
import hashlib
from collections.abc import Callable, Collection
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from projects.nearest import hint
from projects.schema import Dataset
from resources.columns import plain
from resources.object_store import ObjectStore
from resources.request_logs import RequestLogs

BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""Data sets that ship inside scikit-learn."""
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")
FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}


class SourceUnreadable(Exception):
    """A source does not give a table; says which file, what was found and what was expected."""


class Sources:
    """Reads the source of a declared dataset as one Arrow table."""

    def __init__(self, objects: ObjectStore, request_logs: RequestLogs) -> None:
        self._objects, self._request_logs = objects, request_logs

    def read(self, project: str, declared: Dataset, base: Path) -> pa.Table:
        """All rows of the declared source and of what arrived in its watched folder.

        Relative paths start at `base`. Raises SourceUnreadable.
        """
        table = self._read_source(project, declared, base)
        if declared.watch and (arrived := watched_files(declared, base)):
            table = _appended(table, _read_files(declared.watch, base), arrived)
        if table.num_rows == 0:
            raise SourceUnreadable(f"{declared.source} has no rows; expected at least one")
        return table

    def _read_source(self, project: str, declared: Dataset, base: Path) -> pa.Table:
        scheme, _, rest = declared.source.partition(":")
        image = (declared.image.height, declared.image.width) if declared.image else None
        readers: dict[str, Callable[[], pa.Table]] = {
            "sklearn": lambda: _read_bundled(rest),
            "files": lambda: _read_files(rest, base),
            "sql": lambda: _read_sql(rest, base),
            "images": lambda: self._read_images(_absolute(rest, base), image),
            "requests": lambda: self._read_requests(f"{project}.{rest}"),
        }
        return readers[scheme]()

    def _read_images(self, folder: str, image: tuple[int, int] | None) -> pa.Table:
        if "://" in folder:
            raise SourceUnreadable(
                f"images: reads folders of this machine only, got {folder}; mount or copy the "
                "bucket, or declare files: of Parquet rows"
            )
        root = Path(folder)
        files = sorted(p for p in root.glob("*/*") if _counts(p, root, IMAGES) and p.is_file())
        if not files:
            raise SourceUnreadable(
                f"{root} holds no images; expected one folder per class with {', '.join(IMAGES)}"
            )
        rows = [self._image_row(file, image) for file in files]
        return pa.Table.from_pylist(rows)

    def _image_row(self, file: Path, image: tuple[int, int] | None) -> dict[str, Any]:
        from PIL import Image, UnidentifiedImageError

        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        try:
            with Image.open(file) as opened:
                opened.load()
                pixels = _pixels(opened, image) if image else {}
        except (UnidentifiedImageError, OSError) as error:
            raise SourceUnreadable(f"{file} is not a readable image: {error}") from error
        key = f"blobs/{digest[:2]}/{digest}"
        if not self._objects.has(key):
            self._objects.put_file(file, key)
        return {
            "file": str(file.relative_to(file.parent.parent)),
            "label": file.parent.name,
            "object": key,
            "bytes": len(content),
            **pixels,
        }

    def _read_requests(self, service: str) -> pa.Table:
        files = self._request_logs.files(service)
        if not files:
            raise SourceUnreadable(
                f"service {service} has answered no logged request yet; send it some, and leave "
                "request_log enabled"
            )
        return _read_json_lines(files)


def watched_files(declared: Dataset, base: Path) -> dict[str, str]:
    """Version tag by path of the files whose arrival is new data for the dataset.

    Raises SourceUnreadable when a bucket cannot be listed.
    """
    is_images = declared.watch is None and declared.source.startswith("images:")
    return list_files(declared.watched or "", base, IMAGES if is_images else FORMATS)


def list_files(
    address: str, base: Path, suffixes: Collection[str] = tuple(FORMATS)
) -> dict[str, str]:
    """Version tag (size and time of change) by path of the files that count and are there now.

    Raises SourceUnreadable when a bucket is missing or cannot be listed.
    """
    place = _absolute(address, base)
    if "://" in place:
        _, found = _bucket_files(place, suffixes)
        return {info.path: f"{info.size}-{info.mtime_ns}" for info in found}
    stats = {path: path.stat() for path in _local_files(place, suffixes)}
    return {str(p): f"{s.st_size}-{s.st_mtime_ns}" for p, s in stats.items()}


def _counts(path: PurePath, root: PurePath, suffixes: Collection[str]) -> bool:
    """Whether a file below the root holds data: names that start with . or _ are drafts, logs
    and markers of the programs that write there."""
    hidden = any(part.startswith((".", "_")) for part in path.relative_to(root).parts)
    return path.suffix.lower() in suffixes and not hidden


def _local_files(place: str, suffixes: Collection[str]) -> list[Path]:
    """Files of the folder or pattern that count; a file that is named itself always does."""
    if Path(place).is_file():
        return [Path(place)]
    if Path(place).is_dir():
        root, found = Path(place), Path(place).rglob("*")
    else:
        root = next(p for p in Path(place).parents if not glob.has_magic(str(p)))
        found = map(Path, glob.glob(place, recursive=True))
    return sorted((p for p in found if _counts(p, root, suffixes) and p.is_file()), key=str)


def _bucket_files(place: str, suffixes: Collection[str]) -> tuple[Any, list[Any]]:
    """File system, and what it says of every file under the prefix that counts."""
    import pyarrow.fs as pafs

    try:
        system, path = pafs.FileSystem.from_uri(place)
        named = system.get_file_info(path)
        if named.type == pafs.FileType.File:
            return system, [named]
        selector = pafs.FileSelector(path, recursive=True, allow_not_found=True)
        found = system.get_file_info(selector)
        # An empty prefix may fill up later; a bucket that is not there is a mistake.
        bucket = path.partition("/")[0] if not found else ""
        is_missing = bucket and system.get_file_info(bucket).type == pafs.FileType.NotFound
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadable(f"{place} cannot be listed: {error}") from error
    if is_missing:
        raise SourceUnreadable(f"{place} cannot be listed: there is no bucket {bucket!r}")
    files = [info for info in found if info.type == pafs.FileType.File]
    counting = [i for i in files if _counts(PurePath(i.path), PurePath(path), suffixes)]
    return system, sorted(counting, key=lambda info: info.path)


def _appended(table: pa.Table, more: pa.Table, files: dict[str, str]) -> pa.Table:
    try:
        return pa.concat_tables([table, more.select(table.column_names).cast(table.schema)])
    except (KeyError, pa.ArrowException) as error:
        raise SourceUnreadable(
            f"the {len(files)} watched files do not have the source's columns: {error}; expected "
            f"{', '.join(table.column_names[:8])}{', ...' * (len(table.column_names) > 8)}"
        ) from error


def _pixels(opened: Any, image: tuple[int, int]) -> dict[str, float]:
    height, width = image
    grey = opened.convert("L").resize((width, height))
    return {f"pixel_{i}": float(value) for i, value in enumerate(grey.tobytes())}


def _read_bundled(name: str) -> pa.Table:
    if name not in BUNDLED:
        raise SourceUnreadable(f"scikit-learn bundles no {name!r}{hint(name, BUNDLED)}")
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    names = [_column(feature) for feature in bunch.feature_names]
    columns = {column: bunch.data[:, i] for i, column in enumerate(names)}
    if name == "digits":
        columns = {f"pixel_{i}": bunch.data[:, i] for i in range(bunch.data.shape[1])}
    return pa.table({**columns, "target": bunch.target})


def _column(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name).strip("_").lower()


def _absolute(path: str, base: Path) -> str:
    return path if "://" in path or Path(path).is_absolute() else str(base / path)


def _read_files(pattern: str, base: Path) -> pa.Table:
    import pyarrow.dataset as ds

    address = _absolute(pattern, base)
    if "://" in address:
        system, found = _bucket_files(address, FORMATS)
        paths = [info.path for info in found]
    else:
        system, paths = None, [str(path) for path in _local_files(address, FORMATS)]
    if not paths:
        raise SourceUnreadable(
            f"no file matches {address}; expected Parquet, CSV or JSON lines under names that do "
            "not start with . or _"
        )
    formats = {FORMATS.get(Path(p).suffix.lower()) for p in paths}
    if len(formats) != 1 or None in formats:
        raise SourceUnreadable(
            f"{address} holds {sorted({Path(p).suffix for p in paths})}; expected files of one "
            f"format among {', '.join(FORMATS)}"
        )
    try:
        dataset = ds.dataset(paths, format=formats.pop(), filesystem=system)
        _require_known_columns(dataset)
        return dataset.to_table()
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadable(_blame(paths, error)) from error


def _require_known_columns(dataset: Any) -> None:
    """The first file's columns are read from all; what only others have would be lost."""
    known = set(dataset.schema.names)
    for fragment in dataset.get_fragments():
        more = [name for name in fragment.physical_schema.names if name not in known]
        if more:
            raise SourceUnreadable(
                f"{fragment.path} has columns that {dataset.files[0]} lacks: "
                f"{', '.join(more[:8])}{', ...' * (len(more) > 8)}; expected the same columns in "
                "every file"
            )


def _blame(paths: list[str], error: Exception) -> str:
    named = [path for path in paths if Path(path).name in str(error)]
    where = named[0] if named else (paths[0] if len(paths) == 1 else f"one of {len(paths)} files")
    reason = str(error).split("\n", maxsplit=1)[0]
    return f"{where} cannot be read: {reason}; expected a whole file of its format"


def _read_sql(query: str, base: Path) -> pa.Table:
    import duckdb

    try:
        with duckdb.connect() as connection:
            connection.execute("SET file_search_path = ?", [str(base)])
            relation = connection.sql(query)
            if relation is None:
                raise SourceUnreadable(f"the query gives no rows; expected a SELECT\n{query}")
            table = relation.to_arrow_table()
    except duckdb.Error as error:
        raise SourceUnreadable(f"the query failed: {error}\n{query}") from error
    return _ordered(table, query)


def _ordered(table: pa.Table, query: str) -> pa.Table:
    """The rows in the order of their values: a query without ORDER BY may give them in any, and
    the version must not depend on it."""
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceUnreadable(
            f"the query gives {', '.join(twice)} more than once; name columns apart with AS\n"
            f"{query}"
        )
    try:
        return plain(table).sort_by([(name, "ascending") for name in names])
    except pa.ArrowException as error:
        kinds = ", ".join(f"{field.name}: {field.type}" for field in table.schema)
        raise SourceUnreadable(
            f"the query's rows cannot be ordered: {error}; expected columns of numbers, text, "
            f"times or booleans, got {kinds}\n{query}"
        ) from error


def _read_json_lines(files: list[Path]) -> pa.Table:
    import json

    rows: list[dict[str, Any]] = []
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # The last line of a log may be cut by a crash.
            features = entry.pop("inputs")
            rows.append({**entry, **{f"input_{i}": v for i, v in enumerate(features)}})
    return pa.Table.from_pylist(rows)
