"""What ``--dry-run`` prints: the requests by kind, how much they bring, and where they stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pipeline.download.manifest import Piece, Record
from pipeline.download.request import Frame

BYTES_A_VALUE = {"netcdf": 1.3, "grib": 2.0}
"""NetCDF: measured on a year of 30 fields, float32 with deflate. GRIB: 16 bits, as ERA5 is packed."""
_HEAD = ("variables", "levels hPa", "UTC", "period", "requests", "fields", "MB", "done", "on the server", "to do")
_TEXTS = 4
_LONGEST = 60


def table(record: Record, frame: Frame) -> str:
    """Return the table of all wanted pieces, one line for each kind of request."""
    kinds: dict[tuple[object, ...], list[Piece]] = defaultdict(list)
    for piece in record.pieces.values():
        if piece.wanted:
            request = piece.request
            kinds[request.dataset, request.variables, request.levels, request.hours].append(piece)
    found = [
        _row(kinds[kind], frame) for kind in sorted(kinds, key=lambda kind: (str(kind[0]), kind[1:]), reverse=True)
    ]
    total = [sum(int(str(row[column])) for row in found) for column in range(_TEXTS, len(_HEAD))]
    rows = [_HEAD, *[tuple(map(str, row)) for row in found], ("total", "", "", "", *map(str, total))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(_line(row, widths) for row in rows)


def size_note(frame: Frame) -> str:
    """Return how the size was estimated."""
    each = BYTES_A_VALUE[frame.format]
    return f"MB: {frame.points} points a field, {each:g} bytes a value (as {frame.format} files of ERA5 were measured)"


def expected_bytes(pieces: Sequence[Piece], frame: Frame) -> float:
    """Return the size that files of ``pieces`` will have, roughly."""
    return sum(piece.request.fields for piece in pieces) * frame.points * BYTES_A_VALUE[frame.format]


def _row(pieces: Sequence[Piece], frame: Frame) -> tuple[object, ...]:
    request = pieces[0].request
    dates = [day for piece in pieces for day in (piece.request.dates[0], piece.request.dates[-1])]
    server = sum(piece.state in ("queued", "submitting") for piece in pieces)
    done = sum(piece.state in ("done", "passed") for piece in pieces)
    return (
        _shortened(" ".join(request.variables)),
        " ".join(map(str, request.levels)),
        " ".join(f"{hour:02d}" for hour in request.hours) if len(request.hours) < 24 else "hourly",
        f"{min(dates)} … {max(dates)}",
        len(pieces),
        sum(piece.request.fields for piece in pieces),
        round(expected_bytes(pieces, frame) / 1e6),
        done,
        server,
        len(pieces) - done - server,
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    pairs = enumerate(zip(row, widths, strict=True))
    cells = [text.ljust(width) if place < _TEXTS else text.rjust(width) for place, (text, width) in pairs]
    return "  ".join(cells).rstrip()
