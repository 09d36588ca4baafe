"""Folders of images: what a picture shows is in its pixels, whatever way it is stored."""

import io

import numpy as np
import pytest
from PIL import Image

from resources.datasets.sources import SourceUnreadable
from resources.datasets.store import DatasetStore
from tests.resources.datasets.pictures import HALF, draw, image_of, pixels_of

SIZE = {"height": 8, "width": 8}
LEFT = np.zeros((16, 16), np.uint8)
LEFT[:, :8] = 200


@pytest.fixture
def seen(tmp_path, rows_of):
    """Pixels [8, 8] of one image, and the remarks."""

    def of(image, name="1.png", size=None, **save):
        draw(image, tmp_path / "birds" / "wren" / name, **save)
        rows = rows_of("images:birds", image={**SIZE, **(size or {})})
        return pixels_of(rows.table)[0].reshape(8, 8), rows.remarks

    return of


def is_left(pixels, bright=200, dark=0):
    """Whether the left half is bright and the right half dark, but for the edge between."""
    return np.allclose(pixels[:, :3], bright, atol=4) and np.allclose(pixels[:, 5:], dark, atol=4)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("L", "png"),
        ("RGB", "png"),
        ("1", "png"),
        ("P", "png"),
        ("P", "gif"),
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("RGB", "webp"),
        ("RGB", "avif"),
        ("RGB", "bmp"),
        ("L", "tiff"),
        ("CMYK", "tiff"),
        ("L", "pgm"),
    ],
)
def test_picture_is_the_same_in_every_mode_and_format(mode, suffix, seen):
    image = Image.fromarray(LEFT)
    image = (
        image.point(lambda v: 255 * (v > 100)).convert("1") if mode == "1" else image.convert(mode)
    )
    pixels, remarks = seen(image, f"1.{suffix}")

    assert is_left(pixels, bright=255 if mode == "1" else 200)
    assert remarks == ()


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_greys_of_16_bits_are_scaled(suffix, seen):
    pixels, remarks = seen(Image.fromarray(LEFT.astype(np.uint16) * 257), f"1.{suffix}")

    assert is_left(pixels)
    assert remarks == ()


def test_greys_of_16_bits_keep_what_8_bits_cannot_tell(seen):
    pixels, _ = seen(Image.fromarray(np.full((16, 16), 100, np.uint16)))

    assert np.allclose(pixels, 100 / 257)


@pytest.mark.parametrize(("background", "bright"), [(None, 255), (255, 255), (0, 0), (128, 128)])
def test_transparent_picture_lies_over_the_declared_grey(background, bright, seen):
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[:, 8:, 3] = 255

    size = {} if background is None else {"background": background}
    pixels, remarks = seen(Image.fromarray(layer), size=size)

    assert is_left(pixels, bright=bright)
    assert [(r.action, r.count, r.example) for r in remarks] == [("converted", 1, "wren/1.png")]


def test_opaque_alpha_channel_is_not_remarked_on(seen):
    pixels, remarks = seen(Image.fromarray(LEFT).convert("RGBA"))

    assert is_left(pixels)
    assert remarks == ()


def test_transparent_palette_lies_over_the_grey(seen):
    image = Image.fromarray((LEFT > 0).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 200, 200, 200])

    pixels, remarks = seen(image, transparency=0)

    assert is_left(pixels, bright=200, dark=255)
    assert len(remarks) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_stands_as_the_camera_says(orientation, seen):
    upright = Image.fromarray(LEFT)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turns[orientation]) if orientation in turns else upright
    exif = Image.Exif()
    exif[0x0112] = orientation

    pixels, _ = seen(stored, "1.png", exif=exif)

    assert is_left(pixels)


@pytest.mark.parametrize("suffix", ["gif", "webp", "tiff", "png"])
def test_only_the_first_frame_is_read_and_the_rest_is_remarked_on(suffix, seen):
    frames = [Image.fromarray(LEFT).convert("RGB"), Image.new("RGB", (16, 16), (9, 9, 9))]

    pixels, (remark,) = seen(frames[0], f"1.{suffix}", save_all=True, append_images=frames[1:])

    assert is_left(pixels)
    assert (remark.subject, remark.action, remark.count) == ("pixels", "left_out", 1)


def test_picture_in_a_deeper_folder_is_of_the_class_below_the_root(tmp_path, rows_of):
    for name in ("wren/1.png", "wren/2024/may/2.webp", "tit/3.PNG"):
        draw(image_of(LEFT), tmp_path / "birds" / name)

    rows = rows_of("images:birds", image=SIZE)

    assert rows.table.select(["file", "label"]).to_pylist() == [
        {"file": "tit/3.PNG", "label": "tit"},
        {"file": "wren/1.png", "label": "wren"},
        {"file": "wren/2024/may/2.webp", "label": "wren"},
    ]


def test_hidden_files_are_passed_over_and_others_are_counted(tmp_path, rows_of):
    names = ("wren/1.png", ".hidden/1.png", "__MACOSX/wren/1.png", "loose.png", "_drafts/1.png")
    for name in names:
        draw(image_of(LEFT), tmp_path / "birds" / name)
    for name in ("wren/._1.png", ".DS_Store", "wren/notes.txt", "wren/2.heic"):
        (tmp_path / "birds" / name).write_bytes(b"x")

    rows = rows_of("images:birds", image=SIZE)

    assert rows.table.column("file").to_pylist() == ["wren/1.png"]
    assert [(r.count, r.example) for r in rows.remarks] == [
        (2, "wren/2.heic"),
        (1, "loose.png"),
        (1, "_drafts"),
    ]


def test_folders_that_divide_images_are_no_classes(tmp_path, rows_of):
    for name in ("train/wren/1.png", "test/wren/2.png"):
        draw(image_of(LEFT), tmp_path / "birds" / name)

    with pytest.raises(SourceUnreadable, match="test, train, which divide images rather than name"):
        rows_of("images:birds", image=SIZE)


def test_bookkeeping_is_no_feature(tmp_path, rows_of, objects):
    from projects.schema import Dataset

    for name in ("wren/1.png", "wren/2.png", "tit/3.png", "tit/4.png"):
        draw(image_of(LEFT), tmp_path / "birds" / name)
    declared = Dataset.model_validate({"source": "images:birds", "label": "label", "image": SIZE})

    version = DatasetStore(objects).write(
        "p", "birds", declared, rows_of("images:birds", image=SIZE)
    )

    assert version.features == [f"pixel_{i}" for i in range(64)]
    assert "bytes" in version.profile.every()


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tiff", "bmp", "avif"])
def test_cut_picture_is_refused_in_one_sentence(suffix, tmp_path, rows_of):
    file = tmp_path / "birds" / "wren" / f"cut.{suffix}"
    draw(image_of(np.random.default_rng(0).integers(0, 255, (64, 64))), file)
    file.write_bytes(file.read_bytes()[:HALF])

    with pytest.raises(
        SourceUnreadable, match=rf"^wren/cut\.{suffix} is not a readable"
    ) as refused:
        rows_of("images:birds", image=SIZE)

    assert "\n" not in str(refused.value)
    assert "BytesIO" not in str(refused.value)


@pytest.mark.parametrize("pixels", [(10_000, 9_000), (20_000, 20_000)])
def test_enormous_picture_is_refused_with_the_limit(pixels, tmp_path, rows_of):
    file = tmp_path / "birds" / "wren" / "poster.png"
    file.parent.mkdir(parents=True)
    small = io.BytesIO()
    Image.new("1", pixels).save(small, "PNG")
    file.write_bytes(small.getvalue())

    count = pixels[0] * pixels[1]
    message = rf"wren/poster\.png has {count} pixels, expected at most 89478485; make it smaller"
    with pytest.raises(SourceUnreadable, match=message):
        rows_of("images:birds", image=SIZE)


def test_picture_of_floats_is_refused(tmp_path, rows_of):
    draw(Image.fromarray(LEFT.astype(np.float32)), tmp_path / "birds" / "wren" / "1.tiff")

    with pytest.raises(SourceUnreadable, match=r"wren/1\.tiff.*mode F.*expected greys of 8 or 16"):
        rows_of("images:birds", image=SIZE)
