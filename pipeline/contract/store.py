"""store → train, evaluate: named arrays over samples, targets, an index, splits and their scale.

``store.json``   :class:`StoreSpec`: inputs, classes, counts, files with checksums, upstream version
``<input>.npy``  N × per-sample shape, **standardised by the default fold's training days**; NaN where missing;
                 ``image.npy`` alone holds plain uint8, which no fold changes
``target.npy``   N × K uint8
``index.csv``    one row a sample: id, time, date, label, kind, group, then one column a fold with train|val|test|gap
``scale.json``   per fold and input: mean, std and count of each channel over the fold's training days, physical units
                 (images: of value / 255; series: each row that occurs in a training window once)
``moments.npz``  count, mean and summed squares of each sample and channel (N × C), so that the statistics of any
                 further set of days are one sum; only the store stage writes it

Another fold has another scale: its values are an affine map of the stored ones (:class:`Affine`), so one store
serves every fold of a cross-validation.
"""

from __future__ import annotations

import csv
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.pointer import image_store_version as image_store_version
from pipeline.core.artifact import check_files, read_json
from pipeline.core.errors import InputError, shorten

FORMAT = 1
DEFAULT_FOLD = "default"
SPLITS = ("train", "val", "test")
IMAGE = "image"
_SMALL = 1 << 26
"""Bytes of a file whose checksum is compared whenever a store is opened: targets, splits and scales always."""
INDEX_COLUMNS = ("id", "time", "date", "label", "kind", "group")


@dataclass(frozen=True)
class InputSpec:
    """One named input: ``kind`` decides the encoder, ``shape`` is that of one sample (channels first)."""

    kind: str
    """``grid`` (C × H × W), ``scalars`` (S), ``image`` (3 × H × W) or ``series`` (T × F)."""
    file: str
    dtype: str
    shape: tuple[int, ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """Channels with NaN: they become 0 (the training mean) after standardisation."""
    masked: bool = False
    """Whether each channel with NaN gets a channel beside it, 1 where valid and 0 where missing."""


@dataclass(frozen=True)
class TargetSpec:
    """What is predicted: ``multi_label`` (K independent 0/1) or ``single_label`` (one of K)."""

    kind: str
    classes: tuple[str, ...]
    file: str = "target.npy"


@dataclass(frozen=True)
class StoreSpec:
    """The contents of ``store.json``."""

    dataset: str
    version: str
    samples: int
    inputs: dict[str, InputSpec]
    target: TargetSpec
    folds: tuple[str, ...]
    latitude: tuple[float, ...]
    longitude: tuple[float, ...]
    upstream: dict[str, Any]
    files: dict[str, dict[str, Any]]
    preflight: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``store.json`` holds."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True)
class Affine:
    """``new = old * factor + offset`` a channel, from the default fold's scale to another fold's."""

    factor: NDArray[np.float32]
    offset: NDArray[np.float32]

    @property
    def identity(self) -> bool:
        """Whether nothing would change."""
        return bool(np.all(self.factor == 1) and np.all(self.offset == 0))


@dataclass(frozen=True)
class Fold:
    """One division of the samples: ascending row numbers of each split."""

    name: str
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


class Rows:
    """Samples of one ``.npy`` file read with ``preadv``: nothing is mapped, so memory holds only what was asked for.

    Pages of a memory map count as resident memory of the process; the page cache behind ``pread`` does not.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path`` and read its header.

        Raises:
            InputError: it holds no array of numbers.
        """
        try:
            with path.open("rb") as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                self.shape, fortran, self.dtype = read(stream)
                self._offset = stream.tell()
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not an array ({error}); delete it and run the store job again") from None
        if fortran or self.dtype.kind not in "biuf":
            raise InputError(f"{path}: not an array of numbers in C order; delete it and run the store job again")
        self._file = os.open(path, os.O_RDONLY)
        self.row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._path = path

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.shape[0])

    def read(self, rows: NDArray[np.int64], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the samples ``rows`` (in that order), into ``out`` if given.

        Raises:
            IndexError: a row is negative or beyond the last.
            ValueError: ``out`` is not a C-ordered array of these rows and this dtype.
            InputError: the file is shorter than its header says.
        """
        shape = (len(rows), *self.shape[1:])
        if out is None:
            out = np.empty(shape, self.dtype)
        if out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out is {out.dtype} {out.shape}, needed: C-ordered {self.dtype} {shape}")
        if len(rows) == 0:
            return out
        if rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)} samples")
        flat = memoryview(out.reshape(-1).view(np.uint8).data)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        ends = np.append(starts[1:], len(rows))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self._read_run(int(rows[start]), flat[start * self.row_bytes : end * self.row_bytes])
        return out

    def _read_run(self, row: int, target: memoryview) -> None:
        position = self._offset + row * self.row_bytes
        while len(target):
            count = os.preadv(self._file, [target], position)
            if count == 0:
                raise InputError(f"{self._path}: shorter than its header says; delete it and run the store job again")
            target, position = target[count:], position + count

    def __del__(self) -> None:
        """Close the file."""
        if hasattr(self, "_file"):
            os.close(self._file)


class Store:
    """A store on disk, opened for reading."""

    def __init__(self, folder: Path) -> None:
        """Read ``store.json`` and the index.

        Raises:
            InputError: missing, of another format, or files are missing or differ in size, or, where they have at most
                64 MiB, in contents.
        """
        self.folder = folder
        self.spec = load_store_spec(folder)
        arrays = {spec.file for spec in self.spec.inputs.values()} | {self.spec.target.file}
        if not arrays <= self.spec.files.keys():
            strange = shorten(sorted(arrays - self.spec.files.keys()))
            raise InputError(f"{folder / 'store.json'}: {strange} is not among its files; run the store job again")
        check_files(folder, self.spec.files, small=_SMALL)
        rows = Rows(folder / self.spec.target.file)
        self.target: NDArray[np.uint8] = rows.read(np.arange(len(rows), dtype=np.int64))
        self._index = read_index(folder / "index.csv")
        self.scale: dict[str, Any] = read_json(folder / "scale.json")["folds"]

    def column(self, name: str) -> NDArray[np.str_]:
        """Return a column of the index: id, time, date, label, kind, group or a fold's name."""
        return self._index[name]

    def fold(self, name: str = DEFAULT_FOLD) -> Fold:
        """Return the rows of each split of a fold.

        Raises:
            InputError: the store has no such fold.
        """
        if name not in self.spec.folds:
            raise InputError(f"train.fold: {name!r} is not in the store; it has {shorten(self.spec.folds, 40)}")
        marks = self._index[name]
        return Fold(name, *(np.flatnonzero(marks == split).astype(np.int64) for split in SPLITS))

    def rows(self, name: str) -> Rows:
        """Open the array of input ``name``."""
        return Rows(self.folder / self.spec.inputs[name].file)

    def affine(self, name: str, fold: str) -> Affine:
        """Return the map from stored values of input ``name`` to values standardised for ``fold``.

        Images are stored as they are, so theirs changes nothing.
        """
        spec = self.spec.inputs[name]
        if spec.kind == IMAGE:
            channels = len(spec.channels)
            return Affine(np.ones(channels, np.float32), np.zeros(channels, np.float32))
        old, new = (self.scale[which][name] for which in (DEFAULT_FOLD, fold))
        mean, std = np.asarray(old["mean"], np.float64), np.asarray(old["std"], np.float64)
        new_mean, new_std = np.asarray(new["mean"], np.float64), np.asarray(new["std"], np.float64)
        factor, offset = std / new_std, (mean - new_mean) / new_std
        return Affine(factor.astype(np.float32), offset.astype(np.float32))


def load_store_spec(folder: Path) -> StoreSpec:
    """Read ``store.json`` in ``folder``.

    Raises:
        InputError: missing, broken or of another format.
    """
    raw = read_json(folder / "store.json")
    if raw.get("format") != FORMAT:
        raise InputError(
            f"{folder}: store of format {raw.get('format')!r}, this program reads {FORMAT}; run the store job again"
        )
    inputs = {name: InputSpec(**{k: _tuple(v) for k, v in spec.items()}) for name, spec in raw["inputs"].items()}
    target = TargetSpec(**{key: _tuple(value) for key, value in raw["target"].items()})
    rest = {key: _tuple(raw[key]) for key in StoreSpec.__dataclass_fields__ if key not in ("inputs", "target")}
    return StoreSpec(inputs=inputs, target=target, **rest)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read_index(path: Path) -> dict[str, NDArray[np.str_]]:
    """Read ``index.csv`` as one string array a column."""
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = list(csv.reader(stream))
    return {name: np.array([row[place] for row in rows], dtype=np.str_) for place, name in enumerate(header)}
