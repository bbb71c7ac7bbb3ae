"""A store of full ERA5 size (3653 × 42 × 161 × 161) is built and trained on, with its peak memory and speed.

The derived files are synthetic (weighted sums of smooth maps) but of the real number, size and form: about 16 GB, the
store 8 GB more (float16). ``ISOBAR_BENCH`` names a folder with 30 GB free; the files are kept there and used again.
"""

import calendar
import datetime
import subprocess
import sys
import time
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Figure, data_folder
from pipeline.contract.derived import DerivedSpec, Piece
from pipeline.core.artifact import sha256

CHANNELS, POINTS, YEARS = 42, 161, tuple(range(1991, 2001))
STEPS = 56
COMMAND = "python -m benchmarks full_size"
Floats = NDArray[np.float32]

_BUILD = """
import sys
from pathlib import Path
from pipeline.core.interrupt import Interrupt
from pipeline.store.config import SplitConfig, StoreConfig
from pipeline.store.stage import build_store
split = SplitConfig(train=[*range(1991, 1998)], val=[1998], test=[1999, 2000])
config = StoreConfig(dtype="float16", split=split)
build_store(config, Path(sys.argv[1]), Path(sys.argv[2]), "full", Interrupt())
"""
_TRAIN = """
import sys, time
import torch
from pathlib import Path
from pipeline.contract.store import Store
from pipeline.core.interrupt import Interrupt
from pipeline.train.assemble import assemble
from pipeline.train.batches import Streamed
from pipeline.train.config import ScheduleConfig, TrainConfig
from pipeline.train.engine import train_step, steps_of, micro_batches
from pipeline.train.batches import epoch_order
steps = int(sys.argv[2])
config = TrainConfig(accumulate=8, memory_gb=0.5, schedule=ScheduleConfig(name="none"))
store = Store(Path(sys.argv[1]))
parts = assemble(config, store)
order = steps_of(epoch_order(0, 0, len(parts.train), None), config.batch_size)
order = (order * (steps // len(order) + 1))[:steps]
micro = [part for step in order for part in micro_batches(step, config.accumulate)]
began = time.perf_counter()
for _ in parts.train.batches(micro[:160]):
    pass
read = sum(map(len, micro[:160])) / (time.perf_counter() - began)
batch = next(iter(parts.train.batches(micro[:1])))
parts.model.train()
began = time.perf_counter()
for _ in range(8):
    parts.loss(parts.model(batch.inputs), batch.target).sum().backward()
compute = 8 * len(batch.target) / (time.perf_counter() - began)
began = time.perf_counter()
stream = parts.train.batches(micro)
for number, step in enumerate(order):
    train_step(parts, config, stream, len(step), 0, number, steps)
total = sum(map(len, order)) / (time.perf_counter() - began)
print(read, compute, total, store.rows("grid").row_bytes)
"""


def measure() -> list[Figure]:
    """Return peak memory and speed of building the store and of training on it."""
    with data_folder() as folder:
        return _measure(folder)


def _measure(folder: Path) -> list[Figure]:
    derived, store = folder / "derived", folder / "store"
    if not (derived / "manifest.json").exists():
        write_derived(derived)
    figures = []
    if not (store / "store.json").exists():
        seconds, memory, _ = _run(_BUILD, [str(derived), str(store)])
        size = sum(path.stat().st_size for path in derived.glob("*.nc"))
        figures.append(
            Figure(
                "store of 3653 × 42 × 161 × 161 (float16): build",
                f"{seconds:.0f} s ({size / seconds / 1e6:.0f} MB of derived files/s), peak RSS {memory:.2f} GB",
                "the predecessor's data set in memory: 39 GB (its own measure)",
                f"{memory / 39:.3f}",
                COMMAND,
            )
        )
    _, memory, out = _run(_TRAIN, [str(store), str(STEPS)])
    read, compute, total, row = (float(word) for word in out.split())
    figures.append(
        Figure(
            f"training on it, {STEPS} steps of 128 days, simple CNN",
            f"{total:.1f} samples/s ({total * row / 1e6:.0f} MB/s), peak RSS {memory:.2f} GB",
            f"compute alone {compute:.1f}, reading alone {read:.1f} samples/s ({read * row / 1e6:.0f} MB/s)",
            f"{total / compute:.2f} of compute, {total / read:.2f} of reading; promised: RSS ≤ 4 GB",
            COMMAND,
        )
    )
    return figures


_PEAK = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line.split()[1])
"""


def _run(code: str, arguments: list[str]) -> tuple[float, float, str]:
    """Run Python code in a process of its own; return seconds, its peak memory in GB, and its last line of output.

    The peak is the kernel's mark of the program itself; ``ru_maxrss`` would count this process at the fork as well.
    """
    began = time.perf_counter()
    command = [sys.executable, "-c", code + _PEAK, *arguments]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip().splitlines()
    return time.perf_counter() - began, int(out[-1]) / 1e6, (["", *out[:-1]])[-1]


def write_derived(folder: Path) -> None:
    """Write ten years of derived files with 42 channels, a month at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    bank = _smooth_maps(64)
    axis = tuple(np.linspace(55, 15, POINTS).tolist()), tuple(np.linspace(115, 155, POINTS).tolist())
    pieces = []
    for year in YEARS:
        for month in range(1, 13):
            path = folder / f"{year}-{month:02d}.nc"
            days = _days(year, month)
            if not path.exists():
                _write_month(path.with_suffix(".part"), days, bank, axis)
                path.with_suffix(".part").rename(path)
            size = path.stat().st_size
            pieces.append(Piece(path.name, size, sha256(path), len(days), days[0], days[-1], "synthetic"))
    fields = {f"c{number:02d}": "1" for number in range(CHANNELS)}
    DerivedSpec("full", "UTC", fields, {}, (), *axis, tuple(pieces), complete=True).save(folder)


def _days(year: int, month: int) -> list[str]:
    return [str(datetime.date(year, month, day + 1)) for day in range(calendar.monthrange(year, month)[1])]


def _smooth_maps(count: int) -> Floats:
    """Return maps with a spectrum that falls with wavenumber, as weather has."""
    waves = np.fft.rfft2(np.random.default_rng(0).standard_normal((count, POINTS, POINTS)))
    number = np.hypot(np.fft.fftfreq(POINTS)[:, None], np.fft.rfftfreq(POINTS)[None]) * POINTS
    maps = np.fft.irfft2(waves / (1 + number**2), s=(POINTS, POINTS))
    return (maps / maps.std(axis=(1, 2), keepdims=True)).astype(np.float32)


def _write_month(path: Path, days: list[str], bank: Floats, axis: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    generator = np.random.default_rng(int(days[0].replace("-", "")))
    kinds = generator.integers(0, 15, len(days))
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        for name, values in zip(("latitude", "longitude"), axis, strict=True):
            file[name] = np.array(values)
            file[name].make_scale(name)
        hours = [(datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days * 86400 for day in days]
        file["time"] = np.array(hours, np.int64)
        file["time"].attrs["units"] = "seconds since 1970-01-01"
        file["time"].make_scale("time")
        for name, column in (("date", days), ("label", [str(kind) for kind in kinds])):
            file.create_dataset(name, data=column, dtype=text)
            file[name].dims[0].attach_scale(file["time"])
        for number in range(CHANNELS):
            weights = generator.standard_normal((len(days), 3)).astype(np.float32)
            chosen = bank[(number + np.arange(3)) % 40]
            values = np.einsum("dk,khw->dhw", weights, chosen) + 0.5 * bank[40 + kinds] + 10 * number
            store = {"chunks": (1, POINTS, POINTS), **hdf5plugin.LZ4()}
            data = file.create_dataset(f"c{number:02d}", data=values.astype(np.float32), **store)
            data.attrs["units"] = "1"
            for place, name in enumerate(("time", "latitude", "longitude")):
                data.dims[place].attach_scale(file[name])
