"""Real images without a download: the digits that come with scikit-learn, as PNG files in folders of classes.

1797 scans of handwritten digits, 8 × 8 pixels of 0 … 16 (UCI, "Optical Recognition of Handwritten Digits", Alpaydin and
Kaynak 1998). A value v becomes the grey level round(255 v / 16); Pillow's bilinear filter makes 64 × 64 of it. 359 of
the images, each digit in its share, are drawn for validation; the other 1438 train.

    python -m pipeline.synthetic.digits data/raw/digits
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.artifact import make_folder
from pipeline.experiment import home

SIDE, VALIDATION, SEED = 64, 359, 42


def write_digits(folder: Path, side: int = SIDE, validation: int = VALIDATION, seed: int = SEED) -> None:
    """Write ``{train,val}/{digit}/{number:04d}.png``, 8-bit grey of side × side pixels; numbers are scikit-learn's.

    The files are written beside and the folder is renamed, so a folder that is there is whole.

    Args:
        folder: to be made; it must not exist.
        side: pixels.
        validation: images of the split ``val``, at least one a digit.
        seed: of the draw.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data: Any = load_digits()
    train, val = train_test_split(
        np.arange(len(data.target)), test_size=validation, stratify=data.target, random_state=seed
    )
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for split, chosen in (("train", train), ("val", val)):
        for number in chosen.tolist():
            path = partial / split / str(data.target[number]) / f"{number:04d}.png"
            make_folder(path.parent)
            enlarged(data.images[number], side).save(path)
    partial.rename(folder)


def enlarged(digit: NDArray[np.float64], side: int) -> Image.Image:
    """Return a digit (8 × 8, values 0 … 16) as a grey image of side × side pixels."""
    grey = np.round(digit * (255 / 16)).astype(np.uint8)
    return Image.fromarray(grey).resize((side, side), Image.Resampling.BILINEAR)


def main() -> None:
    """Write the digits into the folder named on the command line, unless it is there.

    A relative folder starts where those of configs do: at ``ISOBAR_HOME``, else at the project.
    """
    parser = argparse.ArgumentParser(prog="python -m pipeline.synthetic.digits", description="Write images of digits.")
    parser.add_argument("folder", nargs="?", default="data/raw/digits", help="where to; relative to ISOBAR_HOME")
    folder = home() / parser.parse_args().folder
    if folder.exists():
        print(f"{folder} is there already")
        return
    write_digits(folder)
    print(f"wrote {len(list(folder.rglob('*.png')))} images of {SIDE} × {SIDE} pixels into {folder}")


if __name__ == "__main__":
    main()
