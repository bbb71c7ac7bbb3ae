"""All image files to ``image.npy`` (N × 3 × H × W uint8), each decoded once, side by side, in order."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import logs
from pipeline.core.artifact import sha256
from pipeline.core.errors import InputError, shorten
from pipeline.core.interrupt import Interrupt
from pipeline.store.arrays import going_on, npy_bytes, npy_header
from pipeline.store.images.checksums import Digests
from pipeline.store.images.pictures import Picture
from pipeline.store.images.pixels import BrokenImage, Fit, decode, digest, read_bytes
from pipeline.store.journal import Journal
from pipeline.store.moments import Floats, Moments

BLOCK_BYTES = 1 << 24
"""Memory for one block of images; three are held at a time."""
_MOST = 256
_LEVELS = np.arange(256) / 255


@dataclass(frozen=True)
class Plan:
    """What is decoded, how, and where the notes of progress lie."""

    pictures: Sequence[Picture]
    digests: Digests
    fit: Fit
    size: tuple[int, int]
    skip_broken: float
    workers: int
    progress: Path
    interrupt: Interrupt

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N × 3 × H × W, if no file is broken."""
        return (len(self.pictures), 3, *self.size)

    def blocks(self) -> list[range]:
        """Return the places of the images in blocks of at most :data:`BLOCK_BYTES`."""
        step = min(_MOST, max(1, BLOCK_BYTES // int(np.prod(self.shape[1:]))))
        return [range(start, min(start + step, self.shape[0])) for start in range(0, self.shape[0], step)]


@dataclass(frozen=True)
class Decoded:
    """What was written: which files are in, the moments of each of them (value / 255, N × 3), size and checksum."""

    kept: NDArray[np.bool_]
    moments: Moments
    described: dict[str, Any]


def cores(workers: int) -> int:
    """Return how many threads decode: ``workers``, or one a core that this process may use."""
    return workers or len(os.sched_getaffinity(0))


def stored_size(pictures: Sequence[Picture], fit: Fit) -> tuple[int, int]:
    """Return height and width of the stored images: as set, else those of the first image that can be read.

    Raises:
        InputError: no image can be read.
    """
    if fit.size is not None:
        return fit.size
    reasons = []
    for picture in pictures:
        try:
            height, width = decode(read_bytes(picture.path), fit).values.shape[:2]
        except BrokenImage as error:
            reasons.append(f"{picture.id}: {error}")
        else:
            return height, width
    raise InputError(f"store.images: none of the {len(reasons)} images can be read: {shorten(reasons, 3)}")


def decode_all(plan: Plan, path: Path) -> Decoded:
    """Write all images to ``path``, going on where a killed process stopped.

    Raises:
        InputError: a file is broken and may not be skipped, has another size, or changed meanwhile.
        Interrupted: a stop was asked for; finished blocks are kept.
        OSError: the disk is full, for instance.
    """
    blocks = plan.blocks()
    journal = Journal(plan.progress, "images", [(3, len(block), 3) for block in blocks])
    done = sum(int(_good(part).sum()) for part in journal.parts)
    writer = going_on(path, "uint8", plan.shape, journal, done)
    todo = blocks[len(journal.parts) :]
    try:
        for rows, part in logs.progress(_decoded(plan, todo), "store: images", len(todo)):
            _refuse_broken(plan, [*journal.parts, part])
            good = _good(part)
            writer.append(rows if good.all() else rows[good])
            writer.flush()
            journal.add(part, writer.mark)
            plan.interrupt.check(f"{journal.samples} of {len(plan.pictures)} images are on disk")
        moments = np.concatenate(journal.parts, axis=1)
        kept = _good(moments)
        described = writer.describe() if kept.all() else {}
    finally:
        writer.close()
    return Decoded(kept, Moments(*moments[:, kept]), described or _shrink(path, plan.shape, int(kept.sum())))


def broken_files(plan: Plan, kept: NDArray[np.bool_]) -> dict[str, str]:
    """Return why each file that is not in the store could not be read."""
    return {plan.pictures[place].id: _reason(plan, place) for place in np.flatnonzero(~kept).tolist()}


def _decoded(plan: Plan, blocks: Sequence[range]) -> Iterator[tuple[NDArray[np.uint8], Floats]]:
    """Yield pixels and moments of each block; the next one is decoded meanwhile.

    Rows may be used until the block after the next is asked for: three buffers take turns.
    """
    most = max((len(block) for block in blocks), default=0)
    buffers = itertools.cycle([np.empty((most, *plan.shape[1:]), np.uint8) for _ in range(3)])
    waiting: list[tuple[NDArray[np.uint8], list[Future[Floats]]]] = []
    with ThreadPoolExecutor(plan.workers, thread_name_prefix="store-image") as pool:
        for block in (*blocks, None):
            if block is not None:
                rows = next(buffers)[: len(block)]
                ahead = [pool.submit(_one, plan, place, row) for place, row in zip(block, rows, strict=True)]
                waiting.append((rows, ahead))
            if len(waiting) > 1 or (block is None and waiting):
                rows, ready = waiting.pop(0)
                yield rows, np.stack([future.result() for future in ready], axis=1)


def _one(plan: Plan, place: int, row: NDArray[np.uint8]) -> Floats:
    """Decode one file into ``row`` (3 × H × W); return its moments, 3 × 3, NaN if it is broken."""
    picture = plan.pictures[place]
    try:
        data = read_bytes(picture.path)
        if digest(data) != plan.digests[place].tobytes():
            raise InputError(f"{picture.path}: changed while the store was made; run the job again")
        pixels = decode(data, plan.fit)
    except BrokenImage:
        return np.full((3, 3), np.nan)
    height, width = pixels.values.shape[:2]
    if (height, width) != plan.size:
        raise InputError(
            f"{picture.path}: {height} × {width} pixels (height × width), others have {plan.size[0]} × "
            f"{plan.size[1]}; set store.images.size, for example [{plan.size[0]}, {plan.size[1]}]"
        )
    row[...] = pixels.values.transpose(2, 0, 1)
    # From counts of whole numbers, so the moments do not depend on the order of the pixels.
    count = np.full(3, float(height * width))
    mean = pixels.histogram @ _LEVELS / count
    squares = np.einsum("cv,cv->c", pixels.histogram, np.square(_LEVELS - mean[:, None]))
    return np.stack([count, mean, squares])


def _good(part: Floats) -> NDArray[np.bool_]:
    return ~np.isnan(part[0, :, 0])


def _refuse_broken(plan: Plan, parts: Sequence[Floats]) -> None:
    """Check that no more files are broken than may be skipped."""
    good = np.concatenate([_good(part) for part in parts])
    bad = np.flatnonzero(~good)
    most = int(plan.skip_broken * len(plan.pictures))
    if len(bad) <= most:
        return
    lines = [f"{plan.pictures[place].path}: {_reason(plan, place)}" for place in bad[:5].tolist()]
    so_far = f"{len(bad)} of the first {len(good)} images cannot be read, {most} may be skipped"
    if most == 0:
        advice = "; mend or remove it, or set store.images.skip_broken to the share of files that may be left out"
        raise InputError("\n".join(line + advice for line in lines))
    raise InputError(f"store.images.skip_broken {plan.skip_broken:g}: {so_far}: {shorten(lines)}")


def _reason(plan: Plan, place: int) -> str:
    try:
        decode(read_bytes(plan.pictures[place].path), plan.fit)
    except BrokenImage as error:
        return str(error)
    return "changed while the store was made; run the job again"


def _shrink(path: Path, shape: tuple[int, ...], rows: int) -> dict[str, Any]:
    """Cut the rows off that skipped files left empty; return size and checksum."""
    before, after = npy_header("uint8", shape), npy_header("uint8", (rows, *shape[1:]))
    if len(before) != len(after):
        raise RuntimeError("the header of a shorter array has another length")
    with path.open("r+b") as stream:
        stream.truncate(npy_bytes("uint8", (rows, *shape[1:])))
        stream.write(after)
        stream.flush()
        os.fsync(stream.fileno())
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}
