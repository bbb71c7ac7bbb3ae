"""Wrong images and series of numbers."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.badinput.case import Case, Place, Spoil, append, both, cell, cut, flip, rewrite, text

FOLDER = "eur_15m_winsize4"
ONE = f"{FOLDER}/train/Up/eur_15m_20240101_0900_label_0.png"

TWO = f"{FOLDER}/train/Down/eur_15m_20240101_0915_label_1.png"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG whose header announces a size, whatever is in it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def encoded(values: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


GREY = np.full((16, 24), 9, np.uint8)


def store(kind: str, name: str, says: str, spoil: Spoil | None = None, *more: str, lines: int = 1) -> Case:
    return Case(kind, name, "store", says, more=more, spoil=spoil, ground="charts", lines=lines)


def renamed(to: str) -> Spoil:
    return lambda place: (place.home / ONE).rename((place.home / ONE).with_name(to)) and None


def no_classes(place: Place) -> None:
    for folder in (place.home / FOLDER / "train").iterdir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def other_class(place: Place) -> None:
    folder = place.home / FOLDER / "val" / "Sideways"
    folder.mkdir()
    (place.home / ONE).rename(folder / "eur_15m_20240101_0900_label_7.png")


def table(contents: str) -> Spoil:
    def spoil(place: Place) -> list[str]:
        (place.home / "list.csv").write_text(contents)
        settings = f"store.images={{table: {place.home / 'list.csv'}}}"
        return [str(place.config), settings, "store.series=null"]

    return spoil


PICTURES = [
    store(
        "image",
        "no such folder",
        r"store\.images\.datasets: .*nowhere: no such folder",
        None,
        "store.images.datasets=[nowhere]",
    ),
    store("image", "a file where a folder is", r"tiny\.yaml: not a folder", None, "store.images.datasets=[tiny.yaml]"),
    store(
        "image", "no source of images", r"give one of datasets, train .* and table; found none", None, "store.images={}"
    ),
    store("image", "an empty file", r"0900_label_0\.png.*(empty)", text(ONE, "")),
    store("image", "text named .png", r"0900_label_0\.png.*not a PNG, JPEG", text(ONE, "hello")),
    store("image", "an image cut short", r"0900_label_0\.png.*damaged", cut(ONE)),
    store("image", "a flipped byte in an image", r"0900_label_0\.png.*damaged", flip(ONE)),
    store(
        "image",
        "another size",
        r"\.png: 16 × 24 pixels \(height × width\), others have 20 × 20; set store\.images\.size",
        text(ONE, encoded(np.zeros((20, 20, 3), np.uint8))),
    ),
    store(
        "image",
        "an image of 60000 × 60000",
        r"60000 × 60000 pixels, more than store\.images\.max_pixels",
        text(ONE, png(60000, 60000)),
    ),
    store("image", "an image of no pixels", r"0900_label_0\.png.*(damaged|not a PNG)", text(ONE, png(0, 0))),
    store(
        "image",
        "floating point values",
        r"0900_label_0\.png.*floating point values",
        text(ONE, encoded(GREY.astype(np.float32), "TIFF")),
    ),
    store(
        "image",
        "a name out of convention",
        r"photo\.png: the name does not follow the convention",
        renamed("photo.png"),
    ),
    store("image", "a date that is none in a name", r"20240231.*", renamed("eur_15m_20240231_0900_label_0.png")),
    store("image", "a class that the training lacks", r"Sideways|label", other_class),
    store("image", "no class folders", r"train: no class folder|no image", no_classes),
    store(
        "image",
        "an image outside the classes",
        r"an image outside a class folder",
        text(f"{FOLDER}/train/x.png", encoded(GREY)),
    ),
    store("image", "a size too small", r"store\.images\.size: expected a side of 8", None, "store.images.size=3"),
    store(
        "image",
        "more broken images than allowed",
        r"store\.images\.skip_broken 0\.03: ",
        both(text(ONE, "x"), text(TWO, "x")),
        "store.images.skip_broken=0.03",
    ),
    store("CSV", "a list without a column", r"list\.csv:1: no column 'label'", table("file,class\na.png,Up\n")),
    store(
        "CSV",
        "a list with an unknown column",
        r"list\.csv:1: unknown column 'colour'",
        table("file,label,colour\na.png,Up,red\n"),
    ),
    store(
        "CSV", "a list of files that are gone", r"list\.csv:2: a\.png: no such file", table("file,label\na.png,Up\n")
    ),
    store(
        "CSV",
        "an image listed twice",
        r"list\.csv:3: .*listed in line 2 already",
        table(f"file,label\n{ONE},Up\n{ONE},Up\n"),
    ),
    store("CSV", "an image without a label", r"list\.csv:2: .*no label", table(f"file,label\n{ONE},\n")),
    store(
        "CSV",
        "a split that is none",
        r"list\.csv:2: split 'dev'; allowed: train, val, test",
        table(f"file,label,split\n{ONE},Up,dev\n"),
    ),
    store("CSV", "a list of nothing", r"list\.csv: lists no image", table("file,label\n")),
]

SERIES = [
    store("CSV", "no such series", r"none\.csv", None, "store.series.files=[none.csv]"),
    store(
        "CSV",
        "a pattern that matches nothing",
        r"store\.series\.files: x\*\.csv: no file matches",
        None,
        "store.series.files=[x*.csv]",
    ),
    store("CSV", "an empty series", r"rates\.csv:1: no header|rates\.csv.*no rows", text("rates.csv", "")),
    store(
        "CSV",
        "a header alone",
        r"rates\.csv: no rows below the header",
        rewrite("rates.csv", lambda t: t.splitlines()[0] + "\n"),
    ),
    store("CSV", "no time column", r"rates\.csv:1: no time column", cell("rates.csv", 0, 0, "moment")),
    store(
        "CSV",
        "a time that is none",
        r"rates\.csv:5: time 'noon'; expected a date and time",
        cell("rates.csv", 4, 0, "noon"),
    ),
    store("CSV", "a number that is none", r"rates\.csv:5: f0 is 'much', not a number", cell("rates.csv", 4, 1, "much")),
    store(
        "CSV", "an infinite number", r"rates\.csv:5: f0 is 'inf', not a finite number", cell("rates.csv", 4, 1, "inf")
    ),
    store(
        "CSV",
        "a row too long",
        r"rates\.csv:\d+: 5 cells, the header has",
        append("rates.csv", "2030-01-01 00:00,1,2,3,4\n"),
    ),
    store(
        "CSV",
        "a time twice with other values",
        r"the same time .* with different values; keep one row",
        append("rates.csv", "2024-01-01 09:00,1,2\n"),
    ),
    store(
        "CSV",
        "a column that is not there",
        r"store\.series\.feature_columns: f9 not in",
        None,
        "store.series.feature_columns=[f9]",
    ),
    store("CSV", "a column twice", r"rates\.csv:1: column 'f0' occurs twice", cell("rates.csv", 0, 2, "f0")),
    store(
        "CSV",
        "a series in Latin-1",
        r"rates\.csv: cannot be read as CSV in UTF-8",
        text("rates.csv", "time,é\n".encode("latin-1")),
    ),
    store(
        "CSV",
        "an unknown zone",
        r"store\.series\.timezone: no time zone 'Asia/Tokio'",
        None,
        "store.series.timezone=Asia/Tokio",
    ),
    store(
        "CSV",
        "times of another year",
        r"store\.series: the rows end at 2019-01-02T\S+, before the first image",
        rewrite("rates.csv", lambda t: t.replace("2024-", "2019-")),
    ),
    store(
        "CSV",
        "times of a later year",
        r"store\.series: no image has a row in its window",
        rewrite("rates.csv", lambda t: t.replace("2024-", "2039-")),
    ),
]
