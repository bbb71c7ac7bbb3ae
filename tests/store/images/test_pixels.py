import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.store.images.pixels import BrokenImage, Fit, decode, fit_of, header, read_bytes
from pipeline.store.sections.images import ImagesConfig
from tests.store.images.made_up_images import pixels


def fit(**images: Any) -> Fit:
    return fit_of(ImagesConfig.model_validate({"train": "a", **images}))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decoded(data: bytes, **images: Any) -> np.ndarray:
    return decode(data, fit(**images)).values


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    values = pixels(0)
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decoded(encoded(Image.fromarray(values), kind, **options)), values)


def test_jpeg_is_what_pillow_decodes() -> None:
    data = encoded(Image.fromarray(pixels(0, 40, 30)), "JPEG", quality=80)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decoded(data), np.asarray(image.convert("RGB")))


def test_the_histogram_counts_the_pixels() -> None:
    values = pixels(3)
    histogram = decode(encoded(Image.fromarray(values)), fit()).histogram
    for channel in range(3):
        assert np.array_equal(histogram[channel], np.bincount(values[..., channel].ravel(), minlength=256))


def test_grey_one_bit_palette_and_cmyk_become_rgb() -> None:
    grey = pixels(1)[..., 0]
    assert np.array_equal(decoded(encoded(Image.fromarray(grey))), np.repeat(grey[..., None], 3, axis=2))
    black_and_white = Image.fromarray((grey > 127).astype(np.uint8) * 255).convert("1")
    assert set(np.unique(decoded(encoded(black_and_white)))) == {0, 255}
    palette = Image.fromarray(pixels(2)).quantize(16)
    assert np.array_equal(decoded(encoded(palette)), np.asarray(palette.convert("RGB")))
    assert decoded(encoded(Image.fromarray(pixels(2)).convert("CMYK"), "JPEG")).shape == (16, 24, 3)


def test_transparent_pixels_show_the_background() -> None:
    values = np.zeros((2, 2, 4), np.uint8)
    values[0] = (200, 100, 50, 255)
    values[1, 1] = (0, 0, 0, 128)
    white = decoded(encoded(Image.fromarray(values)))
    assert white[0, 0].tolist() == [200, 100, 50]
    assert white[1, 0].tolist() == [255, 255, 255]
    assert abs(int(white[1, 1, 0]) - 127) <= 1, "half black over white"
    green = decoded(encoded(Image.fromarray(values)), background=(0, 255, 0))
    assert green[1, 0].tolist() == [0, 255, 0]
    grey = Image.fromarray(np.array([[[9, 255], [9, 0]]], np.uint8), "LA")
    assert decoded(encoded(grey))[0].tolist() == [[9, 9, 9], [255, 255, 255]]
    palette = Image.fromarray(pixels(2)).quantize(4)
    seen = decoded(encoded(palette, transparency=0))
    assert (seen[np.asarray(palette) == 0] == 255).all()


def test_sixteen_bit_is_scaled_by_its_full_range() -> None:
    values = np.array([[0, 128, 129, 257], [32768, 65278, 65406, 65535]], np.uint16)
    expected = np.rint(values / 257).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(decoded(encoded(Image.fromarray(values), kind))[..., 0], expected), kind


def test_sixteen_bit_colour_keeps_the_upper_byte() -> None:
    """Pillow cannot write such a PNG, so it is put together by hand: one row of two pixels, filter 0."""
    values = np.array([[0x1234, 0xFFFF, 0x00FF], [0x8000, 0x7FFF, 0x0100]], ">u2")

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    parts = (chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)),
             chunk(b"IDAT", zlib.compress(b"\0" + values.tobytes())), chunk(b"IEND", b""))  # fmt: skip
    seen = decoded(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert seen.tolist() == [[[0x12, 0xFF, 0x00], [0x80, 0x7F, 0x01]]]


def test_values_without_a_known_range_are_refused() -> None:
    for values, message in ((np.ones((2, 2), np.float32), "floating point"), (np.full((2, 2), 70000), "beyond 16 bit")):
        data = encoded(Image.fromarray(values.astype(np.float32 if values.dtype == np.float32 else np.int32)), "TIFF")
        with pytest.raises(BrokenImage, match=message):
            decoded(data)


def test_the_orientation_of_a_camera_is_applied() -> None:
    values = pixels(5, 10, 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the picture is its right side
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        seen = decoded(encoded(Image.fromarray(values), kind, exif=exif, **options))
        assert np.array_equal(seen, np.rot90(values, -1)), kind


def test_policies_bring_an_image_to_the_stored_size() -> None:
    values = np.zeros((20, 40, 3), np.uint8)
    values[:, :10] = (255, 0, 0)
    values[:, 30:] = (0, 0, 255)
    data = encoded(Image.fromarray(values))
    stretched = decoded(data, size=20, resample="nearest")
    assert stretched.shape == (20, 20, 3)
    assert (stretched[:, :5] == (255, 0, 0)).all()
    assert (stretched[:, 15:] == (0, 0, 255)).all()
    assert (decoded(data, size=20, fit="crop") == 0).all(), "only the middle is left"
    padded = decoded(data, size=(20, 20), fit="pad", background=(1, 2, 3), resample="nearest")
    assert (padded[:5] == (1, 2, 3)).all()
    assert (padded[15:] == (1, 2, 3)).all()
    assert (padded[6:14, :4] == (255, 0, 0)).all()


def test_a_small_image_of_the_mean_is_made_by_averaging() -> None:
    """A quarter of each block of 2 × 2 is white, so means are near 64; single pixels would be 0 or 255.

    The triangle of the filter weighs its 8 × 8 pixels unevenly, which shifts a mean by up to 10.
    """
    values = np.zeros((64, 64, 3), np.uint8)
    values[::2, ::2] = 255
    small = decoded(encoded(Image.fromarray(values)), size=16)
    assert np.abs(small.astype(float) - 63.75).max() < 16


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello", "not a PNG, JPEG, BMP, WebP or TIFF image"),
        (encoded(Image.fromarray(pixels(0)), "GIF"), "not a PNG, JPEG, BMP, WebP or TIFF image"),
        (encoded(Image.fromarray(pixels(0)))[:-100], "damaged"),
        (encoded(Image.fromarray(pixels(0, 99, 99)), "JPEG")[:-300], "damaged"),
        (encoded(Image.fromarray(pixels(0, 99, 99)), "TIFF")[:-300], "damaged|not a PNG"),
        (encoded(Image.fromarray(pixels(0, 99, 99)), "WEBP")[:-300], "damaged|not a PNG"),
        (encoded(Image.fromarray(pixels(0, 99, 99)), "BMP")[:-300], "damaged"),
    ],
)
def test_broken_files_are_told(data: bytes, message: str) -> None:
    with pytest.raises(BrokenImage, match=message):
        decoded(data)


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_damaged_bytes_give_an_image_or_a_reason_and_nothing_else(kind: str) -> None:
    data = bytearray(encoded(Image.fromarray(pixels(0, 30, 30)), kind))
    generator = np.random.default_rng(0)
    broken = 0
    for _ in range(120):
        changed = bytearray(data)
        for place in generator.integers(0, len(data), 6):
            changed[place] = generator.integers(0, 256)
        try:
            seen = decode(bytes(changed), fit(max_pixels=1_000_000)).values
        except BrokenImage:
            broken += 1
        else:
            assert seen.dtype == np.uint8
            assert seen.shape[2] == 3
    assert broken > 0


def test_a_pixel_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    data = encoded(Image.new("1", (10_000, 6_000)))
    assert len(data) < 20_000
    for look in (lambda: decode(data, fit()), lambda: header(data, 50_000_000)):
        with pytest.raises(BrokenImage, match=r"10000 × 6000 pixels, more than store.images.max_pixels 50000000"):
            look()


def test_empty_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(BrokenImage, match=r"the file is empty"):
        read_bytes(tmp_path / "a.png")
    with pytest.raises(BrokenImage, match=r"No such file"):
        read_bytes(tmp_path / "b.png")
