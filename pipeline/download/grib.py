"""GRIB files: whole from the first message to the last, and which of them are preliminary.

The decoder of GRIB may take the process down when a section claims a length that it does not have. So the frame of
each message (its length, the lengths of its sections, the four sevens at its end) is walked before the decoder sees it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.core.errors import InputError
from pipeline.raw.grib import load_eccodes
from pipeline.raw.layout import EXPERIMENT

PRELIMINARY = 5
"""``expver`` of ERA5T; final data have 1."""
_END = b"7777"
_PADDING = 4096
_LARGE = 0x800000
"""Edition 1 counts in 120 bytes beyond this length; such messages are checked at their ends only."""
_BROKEN = (ValueError, ArithmeticError, LookupError, EOFError)
"""What values raise that no file has, such as the year 22895."""
_GDS, _BMS = 0x80, 0x40
"""Edition 1: flags of the grid and the bitmap section."""


def check_messages(path: Path) -> int:
    """Return how many messages a file has, all of them whole.

    Raises:
        InputError: it ends within a message, or a message is not what it says.
    """
    count, size = 0, path.stat().st_size
    with path.open("rb") as stream:
        while (start := _skip_padding(stream)) < size:
            end = _end_of_message(stream, start)
            if end is None or end > size:
                raise InputError(f"{path}: truncated or corrupt GRIB in message {count + 1} at byte {start}")
            stream.seek(end)
            count += 1
    return count


def is_preliminary_grib(path: Path) -> bool:
    """Tell whether any message of a GRIB file is ERA5T's."""
    eccodes = load_eccodes(path)
    with path.open("rb") as stream, blaming(path):
        while (handle := eccodes.codes_grib_new_from_file(stream, headers_only=True)) is not None:
            try:
                if eccodes.codes_is_defined(handle, EXPERIMENT):
                    version = eccodes.codes_get(handle, EXPERIMENT, ktype=str).strip()
                    if version.isdigit() and int(version) == PRELIMINARY:
                        return True
            finally:
                eccodes.codes_release(handle)
    return False


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Turn what reading a damaged GRIB file raises into one line that names the file."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("gribapi", "eccodes") and not isinstance(error, _BROKEN):
            raise
        raise InputError(f"{path}: truncated or corrupt GRIB ({' '.join(str(error).split())[:160]})") from error


def _skip_padding(stream: BinaryIO) -> int:
    """Go on to the next byte that is not zero, as some archives fill up their records, and return its place."""
    while block := stream.read(_PADDING):
        rest = block.lstrip(b"\0")
        if rest:
            stream.seek(-len(rest), os.SEEK_CUR)
            break
    return stream.tell()


def _end_of_message(stream: BinaryIO, start: int) -> int | None:
    """Return where the message at ``start`` ends, ``None`` if it is no whole one."""
    head = stream.read(16)
    if len(head) < 16 or head[:4] != b"GRIB":
        return None
    if head[7] == 1:
        end = _end_of_edition_1(stream, start, int.from_bytes(head[4:7]))
    elif head[7] == 2:
        end = _end_of_edition_2(stream, start, int.from_bytes(head[8:16]))
    else:
        return None
    return end


def _end_of_edition_1(stream: BinaryIO, start: int, length: int) -> int | None:
    if length & _LARGE:
        return _end_of_large(stream, start, length)
    place = start + 8
    stream.seek(place)
    product = stream.read(8)
    if len(product) < 8:
        return None
    flags = product[7]
    sections = 2 + bool(flags & _GDS) + bool(flags & _BMS)
    for _ in range(sections):
        size = _length(stream, place, 3)
        if size < 3 or place + size > start + length:
            return None
        place += size
    return _closed(stream, place, start + length)


def _end_of_large(stream: BinaryIO, start: int, length: int) -> int | None:
    """Return the end of a message whose length is rounded up to 120 bytes: its sevens are within the last of them."""
    rounded = start + (length & (_LARGE - 1)) * 120
    stream.seek(max(start, rounded - 124))
    place = stream.read(124).rfind(_END)
    return None if place < 0 else max(start, rounded - 124) + place + 4


def _end_of_edition_2(stream: BinaryIO, start: int, length: int) -> int | None:
    place, end = start + 16, start + length
    while place < end - 4:
        size = _length(stream, place, 4)
        if size < 5 or place + size > end - 4:
            return None
        place += size
    return _closed(stream, place, end)


def _length(stream: BinaryIO, place: int, count: int) -> int:
    stream.seek(place)
    return int.from_bytes(stream.read(count))


def _closed(stream: BinaryIO, place: int, end: int) -> int | None:
    """Return ``end`` if the sections end right before it, with the four sevens between."""
    stream.seek(place, os.SEEK_SET)
    return end if place == end - 4 and stream.read(4) == _END else None
