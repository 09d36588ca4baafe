"""Small pictures for tests of readers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from engine.packed import unpacked

HALF = 200
"""Bytes that are left of a cut picture, less than any format needs for 64 x 64 noise."""


def image_of(pixels: np.ndarray) -> Image.Image:
    """The greys as an image."""
    return Image.fromarray(np.asarray(pixels, np.uint8))


def draw(image: Image.Image, file: Path, **save: object) -> None:
    """Write the image in the format of the file's suffix, as little changed as the format can."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lossless = {".webp": {"lossless": True}, ".avif": {"quality": 100}, ".jpg": {"quality": 100}}
    image.save(file, **{**lossless.get(file.suffix.lower(), {}), **save})


def pixels_of(table: pa.Table) -> np.ndarray:
    """Pixels [rows, height * width]."""
    table = unpacked(table)
    names = [name for name in table.column_names if name.startswith("pixel_")]
    return np.stack([table.column(name).to_numpy() for name in names], axis=1)
