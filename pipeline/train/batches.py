"""Batches from index arrays over the store: kept in memory where they fit, else read ahead from disk by one thread.

No per-sample Python objects and no worker processes. What the model sees (standardised for the fold, missing values
at the training mean, validity channels) is made here once for resident data, batch by batch for streamed data. Images
stay uint8, in memory and on the way to the device; the model makes numbers of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract.store import Affine, InputSpec, Rows, Store
from pipeline.train.shelf import Make, Shelf

Inputs = dict[str, Tensor]
Indices = NDArray[np.int64]
_READ_AHEAD = 2
_BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Batch:
    """``inputs`` by name (B × per-sample shape), ``target`` (B × K, float32), on the training device.

    Inputs are float32, images uint8; a series (B × T × (F + 1)) ends with a channel that is 1 where a step is valid.
    """

    inputs: Inputs
    target: Tensor


class Source(Protocol):
    """Where batches come from: positions count within the split, not within the store."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def batches(self, parts: Sequence[Indices]) -> Iterator[Batch]:
        """Yield the batches whose samples ``parts`` lists, in order."""


@dataclass(frozen=True)
class Wanted:
    """What the model sees of a store: which inputs, by which fold's scale, where and in which memory layout."""

    names: tuple[str, ...]
    fold: str
    device: torch.device
    channels_last: bool = False


Prepare = Callable[[Tensor], Tensor]
"""From stored values of one input (B × …), which may be overwritten, to what the model sees."""


@dataclass(frozen=True)
class _Fields:
    """Maps and scalars: the fold's scale, missing values at 0, and validity channels."""

    affine: Affine
    missing: tuple[int, ...]
    masked: bool

    def __call__(self, stored: Tensor) -> Tensor:
        values = _scaled(stored.float(), self.affine, axis=1)
        if not self.missing:
            return values
        places = list(self.missing)
        chosen = values[:, places]
        values[:, places] = torch.nan_to_num(chosen, nan=0.0)
        return torch.cat([values, (~chosen.isnan()).float()], dim=1) if self.masked else values


@dataclass(frozen=True)
class _Series:
    """Series (B × T × F → B × T × (F + 1)): the fold's scale, missing values at 0, and which steps have any value."""

    affine: Affine

    def __call__(self, stored: Tensor) -> Tensor:
        values = _scaled(stored.float(), self.affine, axis=2)
        valid = ~values.isnan().all(2, keepdim=True)
        return torch.cat([torch.nan_to_num(values, nan=0.0), valid.float()], dim=2)


def _scaled(values: Tensor, affine: Affine, axis: int) -> Tensor:
    if affine.identity:
        return values
    shape = [-1 if place == axis else 1 for place in range(values.ndim)]
    factor, offset = (torch.from_numpy(a).to(values.device).view(shape) for a in vars(affine).values())
    return values * factor + offset


class Resident:
    """A split held in memory, on the device if it has room.

    With ``channels_last`` maps are held as N × H × W × C, so that a batch has that layout without a copy of its own.
    """

    def __init__(self, store: Store, wanted: Wanted, rows: Indices, shelf: Shelf | None = None) -> None:
        """Read and prepare the samples ``rows``, a block at a time so that the peak stays near the result's size."""
        device = wanted.device
        room = device.type == "cuda" and _fits_on(device, split_bytes(store, wanted.names, len(rows)))
        place = device if room else torch.device("cpu")
        self._inputs = {name: _load(store, name, wanted, rows, place, shelf) for name in wanted.names}
        self._target = torch.from_numpy(store.target[rows].astype(np.float32)).to(place)
        self._device, self._place, self._last = device, place, wanted.channels_last

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._target)

    def batches(self, parts: Sequence[Indices]) -> Iterator[Batch]:
        """Yield the batches whose samples ``parts`` lists, in order."""
        for part in parts:
            index = torch.from_numpy(part).to(self._place)
            inputs = {name: self._take(values, index) for name, values in self._inputs.items()}
            yield Batch(inputs, self._target.index_select(0, index).to(self._device))

    def _take(self, values: Tensor, index: Tensor) -> Tensor:
        chosen = values.index_select(0, index).to(self._device)
        return chosen.permute(0, 3, 1, 2) if self._last and values.ndim == 4 else chosen


class Streamed:
    """A split read from disk batch by batch, two batches ahead of the model."""

    def __init__(self, store: Store, wanted: Wanted, rows: Indices) -> None:
        """Open the arrays; nothing is read yet."""
        self._arrays: dict[str, Rows] = {name: store.rows(name) for name in wanted.names}
        self._prepare = {name: _preparation(store, name, wanted) for name in wanted.names}
        self._target, self._rows, self._wanted = store.target, rows, wanted

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._rows)

    def batches(self, parts: Sequence[Indices]) -> Iterator[Batch]:
        """Yield the batches whose samples ``parts`` lists, in order."""
        device = self._wanted.device
        with ThreadPoolExecutor(1, "read-ahead") as reader:
            waiting = [reader.submit(self._read, part) for part in parts[:_READ_AHEAD]]
            for position in range(len(parts)):
                stored, target = waiting.pop(0).result()
                if position + _READ_AHEAD < len(parts):
                    waiting.append(reader.submit(self._read, parts[position + _READ_AHEAD]))
                inputs = {name: self._arrange(self._prepare[name](v.to(device))) for name, v in stored.items()}
                yield Batch(inputs, target.to(device))

    def _read(self, part: Indices) -> tuple[Inputs, Tensor]:
        rows = self._rows[part]
        stored = {name: torch.from_numpy(array.read(rows)) for name, array in self._arrays.items()}
        return stored, torch.from_numpy(self._target[rows].astype(np.float32))

    def _arrange(self, values: Tensor) -> Tensor:
        last = self._wanted.channels_last and values.ndim == 4
        return values.contiguous(memory_format=torch.channels_last) if last else values


@dataclass
class _Kept:
    """Resident splits of a store that several trainings share, the oldest first."""

    shelf: Shelf | None
    splits: dict[Any, tuple[Resident, int]] = field(default_factory=dict)

    def source(self, store: Store, wanted: Wanted, rows: Indices, most: float) -> Source:
        """Return a split, read now if it is not there; of those that are there, no more than ``most`` bytes stay."""
        key, size = (wanted, rows.tobytes()), split_bytes(store, wanted.names, len(rows))
        if key in self.splits:
            return self.splits[key][0]
        shelf = self.shelf if self.shelf is not None and self.shelf.has_room(size) else None
        if self.shelf is not None and shelf is None and size * self.shelf.sharers > most:
            return Streamed(store, wanted, rows)  # the system's cache is shared as well
        while self.splits and size + sum(other for _, other in self.splits.values()) > most:
            del self.splits[next(iter(self.splits))]
        self.splits[key] = Resident(store, wanted, rows, shelf), size
        return self.splits[key][0]


_SHARED: WeakKeyDictionary[Store, _Kept] = WeakKeyDictionary()


def share_sources(store: Store, shelf: Shelf | None = None) -> None:
    """Have splits of ``store`` that fit into memory read once, and kept as long as the store is open."""
    _SHARED.setdefault(store, _Kept(shelf))


def open_source(store: Store, wanted: Wanted, rows: Indices, memory_gb: float) -> Source:
    """Return the samples ``rows`` of a store as a source, resident if they fit into ``memory_gb``."""
    if split_bytes(store, wanted.names, len(rows)) > memory_gb * 1e9:
        return Streamed(store, wanted, rows)
    if store not in _SHARED:
        return Resident(store, wanted, rows)
    # Twice the budget: splits of two kinds, where a search tries both.
    return _SHARED[store].source(store, wanted, rows, 2e9 * memory_gb)


def split_bytes(store: Store, names: Sequence[str], samples: int) -> int:
    """Return the bytes of ``samples`` prepared samples: float32, images uint8."""
    return samples * sum(_sample_bytes(store.spec.inputs[name]) for name in names)


def _sample_bytes(spec: InputSpec) -> int:
    values = int(np.prod(spec.shape))
    if spec.kind == "image":
        return values
    if spec.kind == "series":
        return 4 * (values + spec.shape[0])
    return 4 * (values + (len(spec.missing) * int(np.prod(spec.shape[1:])) if spec.masked else 0))


def epoch_order(seed: int, epoch: int, samples: int, weights: NDArray[np.float64] | None) -> Indices:
    """Return the order of samples in an epoch, a function of (seed, epoch) alone, so that any step can be resumed.

    Args:
        seed: of the run.
        epoch: counted from 0.
        samples: in the training split.
        weights: of each sample, for drawing with replacement; ``None`` visits each sample once.
    """
    generator = np.random.default_rng([seed, epoch])
    if weights is None:
        return generator.permutation(samples)
    return generator.choice(samples, samples, p=weights / weights.sum())


def rare_class_weights(target: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return a weight for each sample, the sum of 1/frequency over its classes; 1/N for one without classes."""
    frequency = target.sum(axis=0, dtype=np.float64)
    weights: NDArray[np.float64] = (target / np.maximum(frequency, 1)).sum(axis=1)
    return np.maximum(weights, 1.0 / len(target))


def _preparation(store: Store, name: str, wanted: Wanted) -> Prepare:
    spec = store.spec.inputs[name]
    if spec.kind == "image":
        return lambda stored: stored
    affine = store.affine(name, wanted.fold)
    if spec.kind == "series":
        return _Series(affine)
    return _Fields(affine, tuple(spec.channels.index(channel) for channel in spec.missing), spec.masked)


def _load(store: Store, name: str, wanted: Wanted, rows: Indices, place: torch.device, shelf: Shelf | None) -> Tensor:
    if shelf is None or place.type != "cpu":
        return _filled(store, name, wanted, rows, lambda shape, dtype: torch.empty(shape, dtype=dtype, device=place))
    key = [name, wanted.fold, wanted.channels_last, hashlib.sha256(rows.tobytes()).hexdigest()]
    return shelf.array(key, lambda make: _filled(store, name, wanted, rows, make))


def _filled(store: Store, name: str, wanted: Wanted, rows: Indices, make: Make) -> Tensor:
    array = store.rows(name)
    prepare = _preparation(store, name, wanted)
    block = max(1, _BLOCK_BYTES // max(array.row_bytes, 1))
    result = torch.empty(0)
    for start in range(0, len(rows), block):
        piece = rows[start : start + block]
        values = prepare(torch.from_numpy(array.read(piece)))
        if wanted.channels_last and values.ndim == 4:
            values = values.permute(0, 2, 3, 1)
        if start == 0:
            result = make((len(rows), *values.shape[1:]), values.dtype)
        result[start : start + len(piece)] = values
    return result


def _fits_on(device: torch.device, size: int) -> bool:
    free, _ = torch.cuda.mem_get_info(device)
    return size < free // 4
