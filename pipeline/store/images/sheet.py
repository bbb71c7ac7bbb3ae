"""A contact sheet: a row of thumbnails for each class, framed by split, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.contract.store import SPLITS

COLOURS = {"train": "#0072b2", "val": "#e69f00", "test": "#009e73", "gap": "#999999", "": "#cccccc"}
"""Okabe and Ito's colours, told apart with any colour vision."""
_SIDE, _SMALLEST = 150, 96
_MARGIN, _CAPTION, _TITLE, _FRAME = 14, 20, 64, 3
_INK, _FAINT = "#222222", "#666666"
_WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansJP-Regular.ttf", "ipaexg.ttf", "ipag.ttf", "meiryo.ttc", "msgothic.ttc",
    "DejaVuSans.ttf",
)  # fmt: skip
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Thumbnail:
    """One image of the sheet, H × W × 3, or the reason why there is none."""

    pixels: NDArray[np.uint8] | None
    split: str
    caption: str


@dataclass(frozen=True)
class Row:
    """The thumbnails of one class."""

    name: str
    note: str
    thumbnails: Sequence[Thumbnail]


def draw_sheet(title: str, note: str, rows: Sequence[Row]) -> Image.Image:
    """Draw the sheet."""
    plain = all((title + row.name).isascii() for row in rows)
    large, middle, small = _font(20, plain), _font(16, plain), _font(12, plain)
    size = _cell(rows)
    left = _MARGIN + max(130, *(int(middle.getlength(row.name)) + _MARGIN for row in rows))
    columns = max(len(row.thumbnails) for row in rows)
    step = (size[0] + _MARGIN, size[1] + _CAPTION + _MARGIN)
    width = max(left + columns * step[0] + _MARGIN, int(large.getlength(title)) + 2 * _MARGIN, 640)
    sheet = Image.new("RGB", (width, _TITLE + len(rows) * step[1] + _MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, 10), title, _INK, large)
    _legend(pen, note, small)
    for number, row in enumerate(rows):
        top = _TITLE + number * step[1]
        if number % 2 == 0:
            pen.rectangle((0, top - _MARGIN // 2, width, top + step[1] - _MARGIN // 2 - 1), "#f5f5f5")
        pen.text((_MARGIN, top + size[1] // 2 - 20), row.name, _INK, middle)
        pen.multiline_text((_MARGIN, top + size[1] // 2 + 2), row.note, _FAINT, small)
        for column, thumbnail in enumerate(row.thumbnails):
            _draw(sheet, pen, thumbnail, (left + column * step[0], top), size, small)
    return sheet


def _font(size: int, plain: bool) -> Font:
    """Return a font; for names beyond ASCII one that may know them, where the system has one."""
    for name in () if plain else _WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _cell(rows: Sequence[Row]) -> tuple[int, int]:
    """Return width and height of a thumbnail: the largest one scaled so that its longer side suits the sheet."""
    shapes = [one.pixels.shape for row in rows for one in row.thumbnails if one.pixels is not None]
    height = max((shape[0] for shape in shapes), default=_SIDE)
    width = max((shape[1] for shape in shapes), default=_SIDE)
    longest = max(height, width)
    scale = min(max(longest, _SMALLEST), _SIDE) / longest
    return max(_SMALLEST, round(width * scale)), max(1, round(height * scale))


def _legend(pen: ImageDraw.ImageDraw, note: str, font: Font) -> None:
    x = _MARGIN
    for split in SPLITS:
        pen.rectangle((x, 40, x + 11, 51), COLOURS[split])
        pen.text((x + 17, 38), split, _INK, font)
        x += 30 + int(font.getlength(split))
    pen.text((x + 8, 38), note, _FAINT, font)


def _draw(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    one: Thumbnail,
    place: tuple[int, int],
    size: tuple[int, int],
    font: Font,
) -> None:
    x, y = place
    width, height = size
    box = (x - _FRAME, y - _FRAME, x + width + _FRAME - 1, y + height + _FRAME - 1)
    if one.pixels is None:
        pen.rectangle(box, "#eeeeee", COLOURS[one.split], _FRAME)
        pen.multiline_text((x + 6, y + height // 2 - 8), "cannot\nbe read", "#b00020", font)
    else:
        picture = Image.fromarray(one.pixels)
        scale = min(width / picture.width, height / picture.height)
        scaled = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        smooth = Image.Resampling.NEAREST if scale > 1.5 else Image.Resampling.LANCZOS
        pen.rectangle(box, "white", COLOURS[one.split], _FRAME)
        sheet.paste(picture.resize(scaled, smooth), (x + (width - scaled[0]) // 2, y + (height - scaled[1]) // 2))
    caption = one.caption
    while len(caption) > 4 and font.getlength(caption) > width + _MARGIN - 4:
        caption = f"{caption[:-2].rstrip('…')}…"
    pen.text((x, y + height + _FRAME + 1), caption, _FAINT, font)
