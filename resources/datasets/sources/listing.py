"""Which files of a folder, pattern or bucket prefix hold data."""

import glob
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import pyarrow as pa

from projects.schema import Dataset
from resources.datasets.remarks import Remark
from resources.datasets.sources.rows import SourceUnreachable, SourceUnreadable

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
IMAGES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif"),
    *(".pgm", ".ppm"),
)
_OUTAGES = (
    *("NETWORK_CONNECTION", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "THROTTLING", "INTERNAL_FAILURE"),
    *("REQUEST_TIMEOUT", "REQUEST_TIME_TOO_SKEWED", "HTTP status: 5", "timed out", "Couldn't"),
)
"""Words of pyarrow's errors of buckets that do not answer at the moment."""


class FoundFile(NamedTuple):
    """One file that holds data."""

    path: str
    """Local path, or path in the bucket."""
    name: str
    """Path below the folder, pattern or prefix, for people and for partitions."""


class Found(NamedTuple):
    """What lies at an address."""

    system: Any
    """File system of pyarrow; None for this machine's own."""
    files: list[FoundFile]
    others: list[str]
    """Names of visible files of other kinds."""

    def remarks(self, place: str) -> list[Remark]:
        """A remark on the files of other kinds, where there are some."""
        if not self.others:
            return []
        suffixes = sorted({PurePath(name).suffix.lower() or "none" for name in self.others})
        reason = f"files of other kinds are not read (suffixes: {', '.join(suffixes[:8])})"
        return [
            Remark(
                subject=place,
                about="file",
                action="left_out",
                count=len(self.others),
                reason=reason,
                example=self.others[0],
            )
        ]


def watched_files(declared: Dataset, base: Path) -> dict[str, str]:
    """Version tag by path of the files whose arrival is new data for the dataset.

    Raises SourceUnreadable or SourceUnreachable when a bucket cannot be listed.
    """
    is_images = declared.watch is None and declared.source.startswith("images:")
    return list_files(declared.watched or "", base, IMAGES if is_images else FORMATS)


def list_files(
    address: str, base: Path, suffixes: Collection[str] = tuple(FORMATS)
) -> dict[str, str]:
    """Version tag (size and time of change) by path of the files that count and are there now.

    Raises SourceUnreadable when a bucket is missing, SourceUnreachable when it does not answer.
    """
    place = absolute(address, base)
    if "://" in place:
        _, _, infos = _bucket_files(place)
        counting = [i for i in infos if PurePath(i.path).suffix.lower() in suffixes]
        return {info.path: f"{info.size}-{info.mtime_ns}" for info in counting}
    stats = {f.path: Path(f.path).stat() for f in found_at(place, suffixes).files}
    return {path: f"{s.st_size}-{s.st_mtime_ns}" for path, s in stats.items()}


def found_at(place: str, suffixes: Collection[str]) -> Found:
    """Files at the absolute address that count, in the order of their paths; a local file that is
    named itself always does.

    Raises SourceUnreadable or SourceUnreachable.
    """
    if "://" in place:
        system, root, infos = _bucket_files(place)
        listed = [FoundFile(i.path, _below(i.path, root)) for i in infos]
    elif Path(place).is_file():
        return Found(None, [FoundFile(place, Path(place).name)], [])
    else:
        system, listed = None, _local_files(place)
    files, others = [], []
    for file in listed:
        if _suffix(file.name) in suffixes:
            files.append(file)
        else:
            others.append(file.name)
    return Found(system, files, others)


def _suffix(name: str) -> str:
    # pathlib takes ten times as long, which folders of many files show.
    return os.path.splitext(name)[1].lower()


def bytes_of(found: Found) -> int:
    """Size of the files together. Raises SourceUnreadable or SourceUnreachable."""
    if found.system is None:
        return sum(Path(file.path).stat().st_size for file in found.files)
    with answering("the files cannot be listed"):
        infos = found.system.get_file_info([file.path for file in found.files])
    return sum(info.size for info in infos)


def absolute(path: str, base: Path) -> str:
    """The path or address, from the base where it is relative."""
    return path if "://" in path or Path(path).is_absolute() else str(base / path)


def _is_visible(name: str) -> bool:
    """Names that start with . or _ are drafts, logs and markers of the programs that write."""
    return not any(part.startswith((".", "_")) for part in name.split("/"))


def _below(path: str, root: str) -> str:
    return str(PurePath(path).relative_to(root)) if path != root else PurePath(path).name


def _local_files(place: str) -> list[FoundFile]:
    """The visible files of a folder or pattern in the order of their paths."""
    path = Path(place)
    if path.is_dir():
        folder, paths = path, _below_folder(str(path))
    else:
        folder = next(p for p in path.parents if not glob.has_magic(str(p)))
        paths = (str(Path(found)) for found in glob.glob(place, recursive=True))
    root = os.path.join(folder, "")
    names = (path.removeprefix(root) for path in sorted(filter(os.path.isfile, paths)))
    return [FoundFile(root + name, name) for name in names if _is_visible(name)]


def _below_folder(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _is_visible(name)]
        yield from (os.path.join(parent, name) for name in names)


def _bucket_files(place: str) -> tuple[Any, str, list[Any]]:
    """File system, path of the prefix, and what the bucket says of every visible file there."""
    import pyarrow.fs as pafs

    with answering(f"{place} cannot be listed"):
        system, path = pafs.FileSystem.from_uri(place)
        named = system.get_file_info(path)
        if named.type == pafs.FileType.File:
            return system, path, [named]
        selector = pafs.FileSelector(path, recursive=True, allow_not_found=True)
        infos = system.get_file_info(selector)
        # An empty prefix may fill up later; a bucket that is not there is a mistake.
        bucket = path.partition("/")[0] if not infos else ""
        is_missing = bucket and system.get_file_info(bucket).type == pafs.FileType.NotFound
    if is_missing:
        raise SourceUnreadable(f"{place} cannot be listed: there is no bucket {bucket!r}")
    files = [info for info in infos if info.type == pafs.FileType.File]
    visible = [info for info in files if _is_visible(_below(info.path, path))]
    return system, path, sorted(visible, key=lambda info: info.path)


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Raise pyarrow's errors as SourceUnreachable where the bucket does not answer, else as
    SourceUnreadable."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        if any(word in reason for word in _OUTAGES):
            raise SourceUnreachable(f"{what} at the moment: {reason}") from error
        raise SourceUnreadable(f"{what}: {reason}") from error
