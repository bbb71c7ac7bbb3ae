"""Work that is done already, a file a piece, so that a killed explanation goes on where it was."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import is_fresh
from pipeline.core.artifact import make_folder, write_json, writing
from pipeline.core.logs import log

Piece = dict[str, NDArray[Any]]


class Pieces:
    """A hidden folder of arrays that belongs to one set of inputs."""

    def __init__(self, folder: Path, stamp: dict[str, Any]) -> None:
        """Take up what is there if it was made from exactly ``stamp``, otherwise begin with nothing."""
        self._folder = folder
        note = folder / "made_from.json"
        if folder.exists() and not is_fresh(note, stamp):
            shutil.rmtree(folder)
        make_folder(folder)
        write_json(note, {"made_from": stamp})

    def get(self, name: str, make: Callable[[], Piece]) -> Piece:
        """Return a piece, from disk if it is there and whole; otherwise made now and kept."""
        path = self._folder / f"{name}.npz"
        if path.exists():
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    return {key: arrays[key] for key in arrays.files}
            except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
                log.warning("%s cannot be used (%s); computing it again", path, error)
        piece = make()
        with writing(path) as part, part.open("wb") as stream:
            np.savez(stream, **piece)  # type: ignore[arg-type]
        return piece

    def discard(self) -> None:
        """Delete the folder; everything it held is in the results."""
        shutil.rmtree(self._folder)
