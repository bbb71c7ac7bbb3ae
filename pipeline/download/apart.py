"""Checking GRIB in a process of its own: on a damaged file its library may crash, and would take the job with it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from pipeline.core.programs import die_with_parent
from pipeline.download.check import GRIB, Checked, Expected, Rejected, check_file

Check = Callable[[Path, Expected], Checked]


def check_safely(path: Path, expected: Expected, check: Check = check_file) -> Checked:
    """Check a piece as :func:`pipeline.download.check.check_file` does; a file that crashes the check is no good.

    Raises:
        Rejected: the file is not what was asked for, or the GRIB library does not survive it.
        InputError: the file is GRIB and the packages that read it are not installed.
    """
    with path.open("rb") as stream:
        first = stream.read(len(GRIB))
    if first != GRIB:
        return check(path, expected)
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=die_with_parent) as apart:
        try:
            return apart.submit(check, path, expected).result()
        except BrokenProcessPool:
            raise Rejected(f"{path}: broken: the GRIB library crashed on it") from None
