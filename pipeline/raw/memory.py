"""Large arrays on pages of their own, which the system has back the moment they are dropped."""

from __future__ import annotations

import mmap
from math import prod

import numpy as np
from numpy.typing import NDArray

_SMALL = 1 << 20


def blank(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a float32 array to be filled.

    The C library learns to keep arrays of this size after they are dropped; its gaps then add up over the years.
    """
    size = 4 * prod(shape)
    if size < _SMALL:
        return np.empty(shape, np.float32)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.float32).reshape(shape)
