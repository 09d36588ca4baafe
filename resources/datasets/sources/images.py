"""Folders of images: one folder per class, and below it the images in whatever folders."""

import hashlib
import re
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from projects.schema import ImageSize
from resources.datasets.remarks import Remark
from resources.datasets.sources.listing import IMAGES, Found, FoundFile, found_at
from resources.datasets.sources.rows import SourceRows, SourceUnreadable
from resources.storage.object_store import ObjectStore

BOOKKEEPING = frozenset({"file", "object", "bytes"})
DIVISIONS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
MOST_PIXELS = 89_478_485
"""Pixels of one image, Pillow's own limit: a small file may hold more than memory does."""
WORKERS = 4
WHITE_16 = 65_535
DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError),
    *(struct.error, zlib.error),
)
"""What Pillow's readers raise over files that are cut or changed."""


class _Image(NamedTuple):
    """What one file gives."""

    digest: str
    bytes: int
    pixels: np.ndarray | None
    """Greys from 0 to 255, float32 of shape [height * width]."""
    is_transparent: bool
    frames: int


def read_images(folder: str, size: ImageSize | None, objects: ObjectStore) -> SourceRows:
    """One row an image: its file, class, object and bytes, and grey pixels where a size is given.

    The class is the first folder below the root. Raises SourceUnreadable.
    """
    if "://" in folder:
        raise SourceUnreadable(
            f"images: reads folders of this machine only, got {folder}; mount or copy the "
            "bucket, or declare files: of Parquet rows"
        )
    listed = found_at(folder, IMAGES)
    files = [file for file in listed.files if len(PurePath(file.name).parts) > 1]
    _require_classes(folder, files)
    images = _read(files, size, objects)
    table = pa.table(
        {
            "file": [file.name for file in files],
            "label": [PurePath(file.name).parts[0] for file in files],
            "object": [_key(image.digest) for image in images],
            "bytes": pa.array([image.bytes for image in images], pa.int64()),
        }
    )
    if size:
        table = _with_pixels(table, images)
    remarks = [*_remarks_on_files(folder, listed), *_remarks_on_images(files, images, size)]
    return SourceRows(table, tuple(remarks), BOOKKEEPING)


def _read(files: list[FoundFile], size: ImageSize | None, objects: ObjectStore) -> list[_Image]:
    with warnings.catch_warnings(), ThreadPoolExecutor(WORKERS) as pool:
        # Pillow warns of large images, which are refused, and of odd EXIF entries.
        warnings.simplefilter("ignore")
        images = list(pool.map(lambda file: _image(file, size), files))
        # Two threads must not write the same object.
        paths = {i.digest: Path(f.path) for i, f in zip(images, files, strict=True)}
        list(pool.map(lambda digest: _keep(objects, digest, paths[digest]), paths))
    return images


def _keep(objects: ObjectStore, digest: str, path: Path) -> None:
    if not objects.has(_key(digest)):
        objects.put_file(path, _key(digest))


def _require_classes(folder: str, files: list[FoundFile]) -> None:
    if not files:
        raise SourceUnreadable(
            f"{folder} holds no images; expected one folder per class with {', '.join(IMAGES)}"
        )
    classes = sorted({PurePath(file.name).parts[0] for file in files})
    if len(classes) > 1 and {name.lower() for name in classes} <= DIVISIONS:
        raise SourceUnreadable(
            f"{folder} holds the folders {', '.join(classes)}, which divide images rather than "
            f"name classes; expected one folder per class: declare images: of {classes[0]} below "
            "it, and leave the division to split"
        )


def _with_pixels(table: pa.Table, images: list[_Image]) -> pa.Table:
    # Column by column in memory, as Arrow wants it.
    pixels = np.stack([i.pixels for i in images if i.pixels is not None], axis=1)
    columns = [pa.array(row) for row in pixels]
    names = [f"pixel_{i}" for i in range(len(columns))]
    return pa.Table.from_arrays([*table.columns, *columns], [*table.column_names, *names])


def _image(file: FoundFile, size: ImageSize | None) -> _Image:
    from PIL import Image, UnidentifiedImageError

    path = Path(file.path)
    pixels, is_transparent = None, False
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as opened:
            # Pixels alone do not tell that the end of a file is missing.
            opened.verify()
        # Opened anew, because Pillow cannot read an image after `verify`.
        with Image.open(BytesIO(content)) as opened:
            width, height = opened.size
            # Pillow itself only warns up to twice the limit.
            if width * height > MOST_PIXELS:
                raise _too_large(file.name, width * height)
            opened.load()
            if size:
                pixels, is_transparent = _pixels(opened, size)
            frames = getattr(opened, "n_frames", 1)
    except Image.DecompressionBombError as error:
        pixels_of_bomb = re.search(r"\((\d+) pixels\)", str(error))
        raise _too_large(file.name, int(pixels_of_bomb[1]) if pixels_of_bomb else None) from None
    except DAMAGED as error:
        is_unknown = isinstance(error, UnidentifiedImageError)
        reason = "Pillow knows no format like it" if is_unknown else str(error)
        raise SourceUnreadable(
            f"{file.name} is not a readable image: {reason}; expected a whole file of one of "
            f"{', '.join(IMAGES)}: mend it or take it away"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    return _Image(digest, len(content), pixels, is_transparent, frames)


def _key(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def _too_large(name: str, pixels: int | None) -> SourceUnreadable:
    return SourceUnreadable(
        f"{name} has {pixels or 'more'} pixels, expected at most {MOST_PIXELS}; make it smaller "
        "or take it away"
    )


def _pixels(opened: Any, size: ImageSize) -> tuple[np.ndarray, bool]:
    """Greys of the upright image in the size, row after row; and whether it is transparent."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(opened)
    is_transparent = upright.has_transparency_data
    if is_transparent:
        upright, is_transparent = _over(upright, size.background)
    resized = np.asarray(_grey(upright).resize((size.width, size.height)), np.float32)
    # Interpolation in floats overshoots at sharp edges.
    return np.clip(resized, 0, 255).ravel(), is_transparent


def _over(image: Any, background: int) -> tuple[Any, bool]:
    """The image laid over grey, and whether any of it shows."""
    from PIL import Image

    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, (background, background, background, 255))
    lowest, _ = layer.getchannel("A").getextrema()
    return Image.alpha_composite(ground, layer), lowest < 255


def _grey(image: Any) -> Any:
    """The image in grey: as bytes, or as floats where it has more than 8 bits."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float32)
        if image.mode == "F" or values.min() < 0 or values.max() > WHITE_16:
            raise ValueError(
                f"its pixels are of mode {image.mode} from {values.min():g} to {values.max():g}, "
                "expected greys of 8 or 16 bits"
            )
        return Image.fromarray(values * (255 / WHITE_16))
    return image.convert("RGB").convert("L") if image.mode in ("CMYK", "P") else image.convert("L")


def _remarks_on_files(folder: str, files: Found) -> list[Remark]:
    loose = [file.name for file in files.files if len(PurePath(file.name).parts) == 1]
    inside = Path(folder).iterdir() if Path(folder).is_dir() else ()
    hidden = [path.name for path in inside if path.is_dir() and path.name.startswith("_")]
    remarks = files.remarks(PurePath(folder).name)
    if loose:
        reason = "images beside the class folders have no class"
        remarks.append(_left_out(PurePath(folder).name, loose, reason))
    if unread := sorted(set(hidden) - {"__MACOSX"}):
        reason = "folders whose names start with _ are not read; rename them to read them"
        remarks.append(_left_out(PurePath(folder).name, unread, reason))
    return remarks


def _left_out(subject: str, names: list[str], reason: str) -> Remark:
    return Remark(
        subject=subject,
        about="file",
        action="left_out",
        count=len(names),
        reason=reason,
        example=names[0],
    )


def _remarks_on_images(
    files: list[FoundFile], images: list[_Image], size: ImageSize | None
) -> list[Remark]:
    remarks = []
    moving = [f.name for f, i in zip(files, images, strict=True) if i.frames > 1]
    if moving and size:
        left = sum(image.frames - 1 for image in images)
        reason = f"only the first frame of animations and stacks is read ({left} frames are not)"
        remarks.append(_left_out("pixels", moving, reason))
    transparent = [f.name for f, i in zip(files, images, strict=True) if i.is_transparent]
    if transparent and size:
        reason = (
            f"transparent images were laid over grey {size.background} (0 is black, 255 white); "
            "declare image: {background: ...} for another"
        )
        remark = _left_out("pixels", transparent, reason)
        remarks.append(remark.model_copy(update={"action": "converted"}))
    return remarks
