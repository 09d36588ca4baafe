"""Image files, each opened once: their bytes, and the greys of their pixels."""

import hashlib
import os
import re
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from projects.schema import ImageSize
from resources.datasets.sources.listing import IMAGES, FoundFile
from resources.datasets.sources.rows import SourceUnreadable

MOST_PIXELS = 89_478_485
"""Pixels of one image, Pillow's own limit: a small file may hold more than memory does."""
WORKERS = min(4, len(os.sched_getaffinity(0)))
"""Threads that decode, on the processors that this process may use."""
MOST_OF_BATCH, BATCH_BYTES = 64, 1 << 20
"""Files that one thread reads at a time, and their size."""
WHITE_16 = 65_535
DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError),
    *(struct.error, zlib.error),
)
"""What Pillow's readers raise over files that are cut or changed."""


class ImageFile(NamedTuple):
    """What one file gives."""

    file: FoundFile
    key: str
    """Name of the file in the object store, which its content decides."""
    size: int
    """Bytes of the file."""
    content: bytes
    pixels: np.ndarray | None
    """Greys from 0 to 255 of shape [height * width]."""
    is_transparent: bool
    frames: int


def decoded(files: list[FoundFile], size: ImageSize | None) -> Iterator[ImageFile]:
    """The images in the order of the files, with pixels where a size is given, some of them decoded
    at a time. Raises SourceUnreadable."""
    with warnings.catch_warnings(), ThreadPoolExecutor(WORKERS) as pool:
        # Pillow warns of large images, which are refused, and of odd EXIF entries.
        warnings.simplefilter("ignore")
        waiting: deque[Future[list[ImageFile]]] = deque()
        try:
            for batch in _batches(files):
                waiting.append(_started(pool, batch, size))
                if len(waiting) > WORKERS:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _started(
    pool: Executor, batch: list[FoundFile], size: ImageSize | None
) -> Future[list[ImageFile]]:
    """The images of the batch, being read by a thread unless they are small."""

    def work() -> list[ImageFile]:
        return [_image(file, size) for file in batch]

    if len(batch) < MOST_OF_BATCH:
        return pool.submit(work)
    # Threads take turns in everything but decoding, of which small images have little.
    done: Future[list[ImageFile]] = Future()
    done.set_result(work())
    return done


def _batches(files: list[FoundFile]) -> Iterator[list[FoundFile]]:
    """The files in batches: small ones together, because threads cost more than they decode."""
    batch, size = list[FoundFile](), 0
    for file in files:
        batch.append(file)
        size += os.stat(file.path).st_size
        if len(batch) == MOST_OF_BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _image(file: FoundFile, size: ImageSize | None) -> ImageFile:
    from PIL import Image, UnidentifiedImageError

    pixels, is_transparent = None, False
    try:
        with open(file.path, "rb") as source:
            content = source.read()
        with Image.open(BytesIO(content)) as opened:
            width, height = opened.size
            # Pillow itself only warns up to twice the limit.
            if width * height > MOST_PIXELS:
                raise _too_large(file.name, width * height)
            if opened.format == "PNG":
                _require_whole_png(opened, content)
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
    key = _key(hashlib.sha256(content).hexdigest())
    return ImageFile(file, key, len(content), content, pixels, is_transparent, frames)


def _require_whole_png(opened: Any, content: bytes) -> None:
    """Raises OSError or SyntaxError for a file that is cut or changed behind the first pixels,
    which decoding does not tell. It is what `verify` does, after which an image cannot be read."""
    from PIL.PngImagePlugin import ChunkStream

    rest = BytesIO(content)
    rest.seek(opened.tile[0][2] - 8)
    ChunkStream(rest).verify()


def _key(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def _too_large(name: str, pixels: int | None) -> SourceUnreadable:
    return SourceUnreadable(
        f"{name} has {pixels or 'more'} pixels, expected at most {MOST_PIXELS}; make it smaller "
        "or take it away"
    )


def _pixels(opened: Any, size: ImageSize) -> tuple[np.ndarray, bool]:
    """Greys of the upright image in the size, row after row; and whether it is transparent."""
    from PIL import ExifTags, ImageOps

    is_upright = opened.getexif().get(ExifTags.Base.Orientation, 1) == 1
    # Turning copies the image even where there is nothing to turn.
    upright = opened if is_upright else ImageOps.exif_transpose(opened)
    is_transparent = upright.has_transparency_data
    if is_transparent:
        upright, is_transparent = _over(upright, size.background)
    grey = _grey(upright)
    if grey.size != (size.width, size.height):
        grey = grey.resize((size.width, size.height))
    greys = np.asarray(grey)
    # Interpolation in floats overshoots at sharp edges.
    return (np.clip(greys, 0, 255) if greys.dtype != np.uint8 else greys).ravel(), is_transparent


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
    if image.mode == "L":
        return image
    return image.convert("RGB").convert("L") if image.mode in ("CMYK", "P") else image.convert("L")
