"""The pointer beside the stores of images; apart from the store itself, so that jobs find one without numpy."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError


def image_store_version(pointer: Path) -> str:
    """Return the version of the store that the store job made last for some settings.

    Later stages find a store of images by this file, without a look at the images.

    Raises:
        InputError: the job has not run yet.
    """
    if not pointer.exists():
        raise InputError(f"{pointer.parent}: no store of these images and settings yet; run jobs/store.py first")
    return str(read_json(pointer)["version"])
