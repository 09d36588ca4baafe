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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from projects.nearest import hint
from projects.schema import Dataset
from resources.object_store import ObjectStore

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

    def __init__(self, objects: ObjectStore, request_logs: Path) -> None:
        self._objects, self._request_logs = objects, request_logs

    def read(self, project: str, declared: Dataset, base: Path) -> pa.Table:
        """All rows of the declared source and of what arrived in its watched folder.

        Relative paths start at `base`. Raises SourceUnreadable.
        """
        table = self._read_source(project, declared, base)
        if declared.watch and (arrived := list_files(declared.watch, base)):
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
        root = Path(folder)
        files = sorted(p for p in root.glob("*/*") if p.suffix.lower() in IMAGES)
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
        files = sorted((self._request_logs / service).glob("*.jsonl*"))
        if not files:
            raise SourceUnreadable(
                f"service {service} has answered no logged request yet; send it some, and leave "
                "request_log enabled"
            )
        return _read_json_lines(files)


def list_files(address: str, base: Path) -> dict[str, str]:
    """Version tag (size and time of change) by path of the files that are there now.

    Raises SourceUnreadable when a bucket cannot be listed.
    """
    import pyarrow.fs as pafs

    place = _absolute(address, base)
    if "://" in place:
        try:
            system, path = pafs.FileSystem.from_uri(place)
            selector = pafs.FileSelector(path, recursive=True, allow_not_found=True)
            found = system.get_file_info(selector)
        except (pa.ArrowException, OSError) as error:
            raise SourceUnreadable(f"{place} cannot be listed: {error}") from error
        return {f.path: f"{f.size}-{f.mtime_ns}" for f in found if f.type == pafs.FileType.File}
    root = Path(place)
    paths = root.rglob("*") if root.is_dir() else map(Path, glob.glob(place, recursive=True))
    stats = {p: p.stat() for p in paths if p.is_file() and not p.name.startswith(".")}
    return {str(p): f"{s.st_size}-{s.st_mtime_ns}" for p, s in stats.items()}


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
        system, paths = _bucket_files(address)
    else:
        system, paths = None, _local_files(address)
    formats = {FORMATS.get(Path(p).suffix.lower()) for p in paths}
    if len(formats) != 1 or None in formats:
        raise SourceUnreadable(
            f"{address} holds {sorted({Path(p).suffix for p in paths})}; expected files of one "
            f"format among {', '.join(FORMATS)}"
        )
    try:
        return ds.dataset(paths, format=formats.pop(), filesystem=system).to_table()
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadable(_blame(paths, error)) from error


def _blame(paths: list[str], error: Exception) -> str:
    named = [path for path in paths if Path(path).name in str(error)]
    where = named[0] if named else (paths[0] if len(paths) == 1 else f"one of {len(paths)} files")
    reason = str(error).split("\n", maxsplit=1)[0]
    return f"{where} cannot be read: {reason}; expected a whole file of its format"


def _local_files(address: str) -> list[str]:
    path = Path(address)
    if path.is_dir():
        found = [str(p) for p in path.rglob("*") if p.suffix.lower() in FORMATS]
    else:
        found = [p for p in glob.glob(address, recursive=True) if Path(p).is_file()]
    if not found:
        raise SourceUnreadable(f"no file matches {address}; expected Parquet, CSV or JSON lines")
    return sorted(found)


def _bucket_files(address: str) -> tuple[Any, list[str]]:
    import pyarrow.fs as pafs

    try:
        system, path = pafs.FileSystem.from_uri(address)
        info = system.get_file_info(path)
        if info.type == pafs.FileType.File:
            return system, [path]
        found = system.get_file_info(pafs.FileSelector(path, recursive=True))
    except (pa.ArrowException, OSError) as error:
        raise SourceUnreadable(f"{address} cannot be listed: {error}") from error
    paths = sorted(f.path for f in found if Path(f.path).suffix.lower() in FORMATS)
    if not paths:
        raise SourceUnreadable(f"no file under {address}; expected Parquet, CSV or JSON lines")
    return system, paths


def _read_sql(query: str, base: Path) -> pa.Table:
    import duckdb

    try:
        with duckdb.connect() as connection:
            connection.execute("SET file_search_path = ?", [str(base)])
            table = connection.sql(query).to_arrow_table()
    except duckdb.Error as error:
        raise SourceUnreadable(f"the query failed: {error}\n{query}") from error
    # A query without ORDER BY may give its rows in any order; the version must not depend on it.
    return table.sort_by([(name, "ascending") for name in table.column_names])


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
