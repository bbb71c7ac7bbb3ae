"""New raw files → maps: derived like those of the training, then cut, converted and standardised by the run's scale."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.derived import DerivedSpec
from pipeline.contract.raw import load_raw
from pipeline.contract.store import InputSpec
from pipeline.core.artifact import digest8
from pipeline.core.config import signature
from pipeline.core.errors import InputError, shorten
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import log
from pipeline.derive.config import DeriveConfig, LabelFile
from pipeline.derive.stage import derive
from pipeline.predict.config import PredictConfig
from pipeline.predict.finished import Degrees, FinishedRun
from pipeline.predict.samples import Piece, Samples
from pipeline.raw.reader import scan_members
from pipeline.raw.variables import RAW
from pipeline.store.channels import Channel, Fields, chosen_channels
from pipeline.store.days import Days, derived_file, months_of, read_days
from pipeline.store.window import Window, window

GRID, SCALARS = "grid", "scalars"
_DAYS = 31
"""Of one file that are read at a time."""
_NOISE = 1e-4
"""Degrees that equal coordinates may differ by: raw files hold them as float32."""
Specs = Mapping[str, InputSpec]


@dataclass(frozen=True)
class Maps:
    """New days that were derived into ``folder``."""

    run: FinishedRun
    specs: Specs
    folder: Path
    derived: DerivedSpec
    channels: Sequence[Channel]
    window: Window
    days: Days

    @property
    def samples(self) -> Samples:
        """All days, named as in a store."""
        times = np.char.add(np.datetime_as_string(self.days.time, unit="s"), "Z")
        dates = self.days.date.astype(np.str_)
        unique = len(np.unique(dates)) == len(dates)
        return Samples(dates if unique else times, times, dates, np.full(len(dates), "", np.str_))

    def piece(self, first: int, last: int) -> Piece:
        """Read the days from number ``first`` up to, not including, ``last``."""
        days = self.days.take(np.arange(first, last))
        arrays: dict[str, NDArray[Any]] = {}
        filled, means = np.zeros(len(days), np.int64), np.zeros((len(days), 1))
        if SCALARS in self.specs:
            scale = self.run.scale(SCALARS)
            arrays[SCALARS] = ((days.scalars - scale.mean) / scale.std).astype(np.float32)
        if GRID in self.specs:
            arrays[GRID], means = self._maps(days)
            filled = _fill(arrays[GRID], self.specs[GRID])
        strangest = np.argmax(np.abs(means), axis=1)
        strange = np.abs(means)[np.arange(len(days)), strangest]
        return Piece(arrays, np.zeros(len(days), np.bool_), filled, strange, strangest)

    def _maps(self, days: Days) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return standardised maps, n × C × H × W, and the mean of each, n × C."""
        spec, scale = self.specs[GRID], self.run.scale(GRID)
        maps = np.empty((len(days), *spec.shape), spec.dtype)
        means, row = np.zeros((len(days), len(self.channels))), 0
        for month in months_of(days, self.folder, self.derived.pieces):
            with derived_file(month.path) as data:
                fields = Fields(data, self.derived, self.window, min(_DAYS, len(month.places)))
                for block in month.blocks(min(_DAYS, len(month.places))):
                    rows = slice(row, row + len(block.places))
                    for place, channel in enumerate(self.channels):
                        values = fields.read(channel, block)
                        # The order of operations of the store, so that the bits are the same.
                        values -= scale.mean[place]
                        values /= scale.std[place]
                        means[rows, place] = _means(values)
                        with np.errstate(over="ignore"):
                            maps[rows, place] = values
                    row = rows.stop
        if np.isinf(maps).any():
            raise InputError(f"new files: values beyond the range of {spec.dtype}, by which the run was trained")
        return maps, means


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    valid = ~np.isnan(values)
    count = valid.sum(axis=(1, 2))
    total = np.where(valid, values, 0.0).sum(axis=(1, 2))
    return np.asarray(np.divide(total, count, out=np.zeros(len(values)), where=count > 0))


def _fill(maps: NDArray[Any], spec: InputSpec) -> NDArray[np.int64]:
    """Put the training mean where channels have gaps that had none in the training; return how many, for each day."""
    filled = np.zeros(len(maps), np.int64)
    for place, name in enumerate(spec.channels):
        if name in spec.missing:
            continue
        gaps = np.isnan(maps[:, place])
        filled += gaps.any(axis=(1, 2))
        maps[:, place][gaps] = 0
    return filled


def open_maps(
    run: FinishedRun, specs: Specs, grid: tuple[Degrees, Degrees] | None, files: Sequence[Path], folder: Path,
    config: PredictConfig, interrupt: Interrupt,
) -> Maps:  # fmt: skip
    """Derive what the run reads from new raw files, into a folder below ``folder``, and open it.

    Raises:
        InputError: a variable, level or time is not there, units are not understood, or the grid is another one.
        EnvironmentFault: the disk is full or closed.
        Interrupted: a stop was asked for; finished months are kept.
    """
    _look_ahead(run, specs, grid, files)
    settings = _derive_settings(run.settings.derive, specs, files, config)
    place = folder / f"derived-{digest8(signature(settings))}"
    with _about_new_files(settings):
        derived = derive(settings, run.name, place, Path(), interrupt, config.days)
    cells = window(derived.latitude, derived.longitude, run.settings.store.region, run.settings.store.coarsen)
    channels = _channels(run, specs, derived)
    _check_grid(run, specs, grid, cells)
    days = read_days(place, derived, list(specs[SCALARS].channels) if SCALARS in specs else [])
    return Maps(run, specs, place, derived, channels, cells, days)


def _look_ahead(run: FinishedRun, specs: Specs, grid: tuple[Degrees, Degrees] | None, files: Sequence[Path]) -> None:
    """Compare the grid of the first file by its header, before hours are spent on another area."""
    first = load_raw(files[0])[0].file if files[0].suffix == ".json" else files[0]
    try:
        found, _ = scan_members(first, RAW)
    except InputError as error:
        # It may be of a variable that this run does not read; the derivation will say so if not.
        log.debug("%s", error)
        return
    if found:
        axes = found[0].layout.grid.latitude, found[0].layout.grid.longitude
        latitude, longitude = (tuple(axis.tolist()) for axis in axes)
        _check_grid(
            run, specs, grid, window(latitude, longitude, run.settings.store.region, run.settings.store.coarsen)
        )


def _derive_settings(own: DeriveConfig, specs: Specs, files: Sequence[Path], config: PredictConfig) -> DeriveConfig:
    """Return the settings of the run's derivation for the new files: only what its model reads, and no labels."""
    return own.model_copy(
        update={
            "raw": [str(path) if path.suffix == ".json" else glob.escape(str(path)) for path in files],
            "fields": list(specs[GRID].channels) if GRID in specs else own.fields[:1],
            "scalars": list(specs[SCALARS].channels) if SCALARS in specs else [],
            "hours": config.hours or own.hours,
            "labels": LabelFile(),
            "allow_gaps": True,
            "parts": "",
            "one_file": False,
            "workers": config.workers,
            "memory_gb": config.memory_gb,
        }
    )


@contextmanager
def _about_new_files(settings: DeriveConfig) -> Iterator[None]:
    """Have errors speak of the new files, not of a config that the user did not write."""
    try:
        yield
    except InputError as error:
        text = str(error).replace("derive.hours", "predict.hours")
        named = text.removeprefix("derive.raw: ").removeprefix("derive.fields: ")
        needs = f" (this run reads {shorten(settings.fields)})" if text.startswith("derive.raw: no file") else ""
        raise InputError(f"new files: {named}{needs}" if named != text else text) from None


def _channels(run: FinishedRun, specs: Specs, derived: DerivedSpec) -> list[Channel]:
    """Return the channels in the order of the model's input.

    Raises:
        InputError: a unit is not the one of the training.
    """
    if GRID not in specs:
        return []
    spec = specs[GRID]
    wanted = run.settings.store.model_copy(update={"channels": list(spec.channels)})
    channels = chosen_channels(wanted, derived)
    for channel, units in zip(channels, spec.units, strict=True):
        if channel.units != units:
            raise InputError(
                f"{run.name}: trained with {channel.name} in {units!r}, this program derives it in {channel.units!r}; "
                "train again"
            )
    return channels


def _check_grid(run: FinishedRun, specs: Specs, grid: tuple[Degrees, Degrees] | None, found: Window) -> None:
    if GRID not in specs:
        return
    shape = specs[GRID].shape[1:]
    if grid is None:
        if found.shape != shape:
            counts = "{} × {} points (latitude × longitude)"
            raise InputError(
                f"new files: {counts.format(*found.shape)}, {run.name} was trained on {counts.format(*shape)}"
            )
        return
    pairs = list(zip(grid, (found.latitude, found.longitude), strict=True))
    if all(len(a) == len(b) and np.allclose(a, b, rtol=0, atol=_NOISE) for a, b in pairs):
        return
    block = run.settings.store.coarsen
    raise InputError(
        f"new files: their grid gives {_extent(found.latitude, found.longitude)}, {run.name} was trained on "
        f"{_extent(*grid)}{f' (means of {block} × {block} points)' if block > 1 else ''}; download that area and "
        f"resolution{_advice(grid, (found.latitude, found.longitude), block)}"
    )


def _extent(latitude: Degrees, longitude: Degrees) -> str:
    def one(values: Degrees) -> str:
        step = f" every {abs(values[1] - values[0]):.4g}" if len(values) > 1 else ""
        return f"{len(values)} from {values[0]:g} to {values[-1]:g}{step}"

    return f"latitudes {one(latitude)} and longitudes {one(longitude)}"


def _advice(wanted: tuple[Degrees, Degrees], found: tuple[Degrees, Degrees], block: int) -> str:
    """Return how to cut what is wanted out of what was found, as a command of CDO, where cutting is enough."""
    latitude, longitude = wanted
    if block == 1 and not all(_contains(theirs, ours) for theirs, ours in zip(found, wanted, strict=True)):
        return " (cutting does not help: its points are fewer, or lie elsewhere or at another distance)"
    half = [abs(axis[1] - axis[0]) / 2 * (1 - 1 / block) if len(axis) > 1 else 0.0 for axis in (latitude, longitude)]
    box = (longitude[0] - half[1], longitude[-1] + half[1], latitude[-1] - half[0], latitude[0] + half[0])
    return f", or cut it out: cdo sellonlatbox,{','.join(f'{edge:g}' for edge in box)} in.nc out.nc"


def _contains(larger: Degrees, smaller: Degrees) -> bool:
    """Tell whether an axis is a stretch of another one."""
    places = np.abs(np.subtract.outer(np.array(smaller), np.array(larger))).argmin(axis=1)
    same = np.allclose(np.array(larger)[places], smaller, rtol=0, atol=_NOISE)
    return bool(same and (np.diff(places) == 1).all())
