"""Samples of a store as people know them: maps and series in physical units, images as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import DEFAULT_FOLD, IMAGE, Store

Rows = NDArray[np.int64]


def physical(store: Store, name: str, rows: Rows) -> NDArray[Any]:
    """Return samples of an input with the standardisation undone; NaN where nothing is known.

    Grids are N × C × H × W and series N × T × F in the units of their channels, images N × H × W × 3 of 0…255.
    """
    spec, values = store.spec.inputs[name], store.rows(name).read(rows)
    if spec.kind == IMAGE:
        return np.moveaxis(values, 1, -1)
    scale = store.scale[DEFAULT_FOLD][name]
    shape = (-1, 1, 1) if values.ndim == 4 else (-1,)
    mean, std = (np.asarray(scale[key], np.float64).reshape(shape) for key in ("mean", "std"))
    return np.asarray(values.astype(np.float64) * std + mean)
