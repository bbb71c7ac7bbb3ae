"""One image file to uint8 red, green, blue of the stored size."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.store.sections.images import ImagesConfig

# max_pixels takes the place of this limit of Pillow's, which is one number for the whole program.
Image.MAX_IMAGE_PIXELS = None
# Of harmless oddities in metadata; a file that cannot be read raises. (catch_warnings is not for threads.)
warnings.filterwarnings("ignore", module=r"PIL\.")
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "WEBP", "TIFF")
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
_FAULTS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, MemoryError, struct.error,
    zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow's decoders raise on damaged files (found by changing bytes of good ones)."""
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_FULL = 65535


class BrokenImage(Exception):
    """A file that cannot be stored; the text says why, without its name."""


@dataclass(frozen=True)
class Fit:
    """How pixels are brought to the stored size (height, width; ``None``: kept as they are)."""

    size: tuple[int, int] | None
    policy: str
    filter: Image.Resampling
    background: tuple[int, int, int]
    max_pixels: int


def fit_of(config: ImagesConfig) -> Fit:
    """Return the settings as the decoder wants them."""
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    return Fit(size, config.fit, _FILTERS[config.resample], config.background, config.max_pixels)


def read_bytes(path: Path) -> bytes:
    """Return the contents of an image file.

    Raises:
        BrokenImage: it is empty, or cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenImage(f"cannot be read ({error.strerror})") from None
    if not data:
        raise BrokenImage("the file is empty")
    return data


def digest(data: bytes) -> bytes:
    """Return the SHA-256 of a file's contents."""
    return hashlib.sha256(data).digest()


@dataclass(frozen=True)
class Pixels:
    """A decoded image, H × W × 3, and how often each channel has each of the 256 values, 3 × 256."""

    values: NDArray[np.uint8]
    histogram: NDArray[np.int64]


def decode(data: bytes, fit: Fit) -> Pixels:
    """Decode an image file and bring it to the stored size.

    Transparent pixels are laid over ``fit.background``, 16-bit values v become round(v / 257), the orientation in the
    EXIF data is applied. Colour profiles are not.

    Raises:
        BrokenImage: it is none of the known formats, is damaged, has too many pixels, or values without a known range.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_large(image, fit.max_pixels)
            image.load()
            fitted = _fitted(_rgb(ImageOps.exif_transpose(image), fit.background), fit)
            return Pixels(np.asarray(fitted), np.array(fitted.histogram(), np.int64).reshape(3, 256))
    except UnidentifiedImageError:
        raise BrokenImage("not a PNG, JPEG, BMP, WebP or TIFF image") from None
    except _FAULTS as error:
        raise BrokenImage(f"damaged ({' '.join(str(error).split())[:80] or type(error).__name__})") from None


def header(data: bytes, max_pixels: int) -> tuple[tuple[int, int], str, str]:
    """Return (height, width), mode and format that the file's header names, before orientation.

    Raises:
        BrokenImage: as for :func:`decode`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_large(image, max_pixels)
            return (image.height, image.width), image.mode, str(image.format)
    except UnidentifiedImageError:
        raise BrokenImage("not a PNG, JPEG, BMP, WebP or TIFF image") from None
    except _FAULTS as error:
        raise BrokenImage(f"damaged ({' '.join(str(error).split())[:80] or type(error).__name__})") from None


def _refuse_large(image: Image.Image, most: int) -> None:
    pixels = image.width * image.height
    if pixels > most:
        raise BrokenImage(f"{image.width} × {image.height} pixels, more than store.images.max_pixels {most}")


def _rgb(image: Image.Image, background: Sequence[int]) -> Image.Image:
    if image.mode in _SIXTEEN:
        return _from_sixteen(image)
    if image.mode == "F":
        raise BrokenImage("floating point values without a known range; convert it to 8 or 16 bit")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        under = Image.new("RGBA", over.size, (*background[:3], 255))
        return Image.alpha_composite(under, over).convert("RGB")
    return image.convert("RGB")


def _from_sixteen(image: Image.Image) -> Image.Image:
    values: NDArray[Any] = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _FULL:
        raise BrokenImage(f"integer values {low} to {high} beyond 16 bit; convert it to 8 or 16 bit")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")


def _fitted(image: Image.Image, fit: Fit) -> Image.Image:
    if fit.size is None or (image.height, image.width) == fit.size:
        return image
    height, width = fit.size
    if fit.policy == "resize":
        return image.resize((width, height), fit.filter)
    if fit.policy == "crop":
        return ImageOps.fit(image, (width, height), fit.filter)
    return ImageOps.pad(image, (width, height), fit.filter, color=tuple(fit.background))
