"""Folders of images: one folder per class, and below it the images in whatever folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa

from engine.packed import packed
from projects.schema import Dataset, ImageSize
from resources.datasets.remarks import Remark
from resources.datasets.sources.declared_types import plain_as_declared
from resources.datasets.sources.image_files import ImageFile, decoded
from resources.datasets.sources.listing import IMAGES, Found, FoundFile, found_at
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.datasets.sources.spool import Spool
from resources.datasets.sources.spooled import SpooledStream
from resources.datasets.sources.union import FileTable, joined
from resources.datasets.streams import rows_of_portion
from resources.storage.object_store import ObjectStore
from resources.storage.packs import Packs

PIXEL = "pixel"
BOOKKEEPING = frozenset({"file", "object", "bytes"})
DIVISIONS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
PACK_BYTES = 32 << 20
"""Size of the files that are kept in one object."""


def read_images(
    folder: str, declared: Dataset, objects: ObjectStore, spool: Spool | None = None
) -> SourceRows | SpooledStream:
    """One row an image: its file, class, object and bytes, and grey pixels where a size is given,
    packed; with a spool a stream of them. The files are kept in packs of the object store.

    The class is the first folder below the root. Raises SourceUnreadable.
    """
    if "://" in folder:
        raise SourceUnreadable(
            f"images: reads folders of this machine only, got {folder}; mount or copy the "
            "bucket, or declare files: of Parquet rows"
        )
    listed = found_at(folder, IMAGES)
    files = [file for file in listed.files if "/" in file.name]
    _require_classes(folder, files)
    read = _Reader(declared.image, objects)
    if spool is None:
        table, _ = joined([FileTable(folder, table) for table in read.tables(files)])
        remarks = [*_remarks_on_files(folder, listed), *read.remarks()]
        return SourceRows(table, tuple(remarks), BOOKKEEPING)
    tables = (plain_as_declared(table, declared.read, folder)[0] for table in read.tables(files))
    stream = SpooledStream(tables, spool.folder(), BOOKKEEPING)
    stream.remarks = [*_remarks_on_files(folder, listed), *read.remarks()]
    return stream


class _Reader:
    """Reads images, keeps their files, and counts what there is to remark on."""

    def __init__(self, size: ImageSize | None, objects: ObjectStore) -> None:
        self._size, self._packs = size, Packs(objects)
        self._moving, self._transparent = _Named(), _Named()
        self._left_frames = 0

    def tables(self, files: list[FoundFile]) -> Iterator[pa.Table]:
        """The rows of the files in portions. Raises SourceUnreadable or OSError."""
        count = self._size.height * self._size.width if self._size else 0
        most, known = rows_of_portion(4 + count), self._packs.names()
        portion, new = _Portion(most, count), dict[str, bytes]()
        size = 0
        for image in decoded(files, self._size):
            self._remember(image)
            if image.key not in known:
                known.add(image.key)
                new[image.key] = image.content
                size += len(image.content)
            portion.add(image)
            if portion.is_full or size >= PACK_BYTES:
                self._packs.add(new)
                yield portion.taken()
                new, size = {}, 0
        self._packs.add(new)
        yield portion.taken()

    def _remember(self, image: ImageFile) -> None:
        if image.frames > 1:
            self._moving.add(image.file.name)
            self._left_frames += image.frames - 1
        if image.is_transparent:
            self._transparent.add(image.file.name)

    def remarks(self) -> list[Remark]:
        """What was left out or converted of the pixels."""
        remarks = []
        if self._moving.count and self._size:
            reason = (
                "only the first frame of animations and stacks is read "
                f"({self._left_frames} frames are not)"
            )
            remarks.append(_left_out("pixels", self._moving, reason))
        if self._transparent.count and self._size:
            reason = (
                f"transparent images were laid over grey {self._size.background} (0 is black, 255 "
                "white); declare image: {background: ...} for another"
            )
            remark = _left_out("pixels", self._transparent, reason)
            remarks.append(remark.model_copy(update={"action": "converted"}))
        return remarks


class _Portion:
    """Rows of images that are in memory at once."""

    def __init__(self, most: int, pixels: int) -> None:
        self._most, self._pixels = most, pixels
        # Greys of 8 bits stay so until one of more comes.
        self._greys = np.empty((most, pixels), np.uint8)
        self._images: list[ImageFile] = []

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another image."""
        return len(self._images) == self._most

    def add(self, image: ImageFile) -> None:
        """Take one more image."""
        if image.pixels is not None:
            if image.pixels.dtype != np.uint8:
                self._greys = self._greys.astype(np.float32, copy=False)
            self._greys[len(self._images)] = image.pixels
        self._images.append(image._replace(content=b"", pixels=None))

    def taken(self) -> pa.Table:
        """The rows, which are forgotten, with their pixels packed."""
        images, self._images = self._images, []
        rows = pa.table(
            {
                "file": pa.array([image.file.name for image in images], pa.string()),
                "label": pa.array([_class_of(image.file) for image in images], pa.string()),
                "object": pa.array([image.key for image in images], pa.string()),
                "bytes": pa.array([image.size for image in images], pa.int64()),
            }
        )
        if self._pixels:
            rows = rows.append_column(PIXEL, packed(self._greys[: len(images)]))
            # The table has the pixels, so the next images need another place.
            self._greys = np.empty((self._most, self._pixels), np.uint8)
        return rows


class _Named:
    """Files that are alike: how many there are, and the first of them."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.count, self.example = len(names), next(iter(names), "")

    def add(self, name: str) -> None:
        """Take one more."""
        self.count, self.example = self.count + 1, self.example or name


def _class_of(file: FoundFile) -> str:
    return file.name.partition("/")[0]


def _require_classes(folder: str, files: list[FoundFile]) -> None:
    if not files:
        raise SourceUnreadable(
            f"{folder} holds no images; expected one folder per class with {', '.join(IMAGES)}"
        )
    classes = sorted({_class_of(file) for file in files})
    if len(classes) > 1 and {name.lower() for name in classes} <= DIVISIONS:
        raise SourceUnreadable(
            f"{folder} holds the folders {', '.join(classes)}, which divide images rather than "
            f"name classes; expected one folder per class: declare images: of {classes[0]} below "
            "it, and leave the division to split"
        )


def _remarks_on_files(folder: str, files: Found) -> list[Remark]:
    loose = [file.name for file in files.files if "/" not in file.name]
    inside = Path(folder).iterdir() if Path(folder).is_dir() else ()
    hidden = [path.name for path in inside if path.is_dir() and path.name.startswith("_")]
    remarks = files.remarks(PurePath(folder).name)
    if loose:
        reason = "images beside the class folders have no class"
        remarks.append(_left_out(PurePath(folder).name, _Named(loose), reason))
    if unread := sorted(set(hidden) - {"__MACOSX"}):
        reason = "folders whose names start with _ are not read; rename them to read them"
        remarks.append(_left_out(PurePath(folder).name, _Named(unread), reason))
    return remarks


def _left_out(subject: str, files: _Named, reason: str) -> Remark:
    return Remark(
        subject=subject,
        about="file",
        action="left_out",
        count=files.count,
        reason=reason,
        example=files.example,
    )
