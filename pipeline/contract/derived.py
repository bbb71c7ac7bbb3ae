"""derive → store: one NetCDF file a month, and ``manifest.json`` that says what is in them.

A monthly file ``YYYY-MM.nc`` (month of the local day) has dims ``time`` × ``latitude`` × ``longitude``, latitude
descending, longitude ascending; fields float32 with ``units``; scalars over ``time`` only; ``time`` in UTC; ``date``
(local day, ``YYYY-MM-DD``) and ``label`` (the raw label text, empty where the day has none) as strings over ``time``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.artifact import MANIFEST, check_files, digest8, read_json, write_json
from pipeline.core.errors import InputError

FORMAT = 1


@dataclass(frozen=True)
class Piece:
    """One monthly file: name, size, checksum, local days, and the signature of what it was made from."""

    file: str
    bytes: int
    sha256: str
    days: int
    first: str
    last: str
    made_from: str


@dataclass(frozen=True)
class DerivedSpec:
    """Derived data: fields and scalars ``{name: units}``, its grid in degrees, its pieces in order of time."""

    dataset: str
    timezone: str
    fields: dict[str, str]
    scalars: dict[str, str]
    may_miss: tuple[str, ...]
    """Fields that may hold NaN (SST over land); a NaN anywhere else stopped the derivation."""
    latitude: tuple[float, ...]
    longitude: tuple[float, ...]
    pieces: tuple[Piece, ...]
    complete: bool
    """False while the derivation is under way: the manifest then lists the pieces done so far."""
    sources: tuple[str, ...] = ()
    """Raw and label files as the config named them; contents are known by each piece's ``made_from``."""

    @property
    def version(self) -> str:
        """Eight hex digits that identify the contents of all pieces."""
        return digest8([FORMAT, self.dataset, [piece.sha256 for piece in self.pieces]])

    def save(self, folder: Path) -> None:
        """Write ``manifest.json`` into ``folder``, atomically."""
        write_json(folder / MANIFEST, {"format": FORMAT, "version": self.version, **asdict(self)})


def load_derived(folder: Path) -> DerivedSpec:
    """Read and check the manifest in ``folder``.

    Raises:
        InputError: missing, of another format, incomplete, or a piece is missing or has another size.
    """
    spec = read_derived(folder)
    if not spec.complete:
        raise InputError(f"{folder}: the derivation is unfinished ({len(spec.pieces)} months so far); run derive again")
    check_files(folder, {piece.file: {"bytes": piece.bytes} for piece in spec.pieces})
    return spec


def read_derived(folder: Path) -> DerivedSpec:
    """Read the manifest in ``folder`` whether the derivation has finished or not.

    Raises:
        InputError: missing, broken, changed or of another format.
    """
    raw: dict[str, Any] = read_json(folder / MANIFEST)
    if raw.get("format") != FORMAT:
        found = raw.get("format")
        raise InputError(f"{folder}: derived data of format {found!r}, this program reads {FORMAT}; run derive again")
    try:
        spec = _spec(raw)
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder}: the manifest is not whole ({error}); run derive again") from None
    if raw.get("version") != spec.version:
        raise InputError(f"{folder / MANIFEST}: its list of files was changed; delete {folder} and run derive again")
    return spec


def _spec(raw: dict[str, Any]) -> DerivedSpec:
    return DerivedSpec(
        dataset=raw["dataset"],
        timezone=raw["timezone"],
        fields=raw["fields"],
        scalars=raw["scalars"],
        may_miss=tuple(raw["may_miss"]),
        latitude=tuple(raw["latitude"]),
        longitude=tuple(raw["longitude"]),
        pieces=tuple(Piece(**piece) for piece in raw["pieces"]),
        complete=raw["complete"],
        sources=tuple(raw["sources"]),
    )
