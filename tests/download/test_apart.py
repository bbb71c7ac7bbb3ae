"""A file on which the GRIB library crashes is a bad file, not the end of the job."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from pipeline.download.apart import check_safely
from pipeline.download.check import Checked, Expected, Rejected

EXPECTED = Expected((("msl", None),), np.array([0], np.int64), (1.0, 0.0, 0.0, 1.0), (1.0, 1.0))


def crash(path: Path, expected: Expected) -> Checked:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("still here")


def refuse(path: Path, expected: Expected) -> Checked:
    raise Rejected(f"{path}: {os.getpid()}")


def test_a_crash_of_the_library_is_told_as_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.grib"
    path.write_bytes(b"GRIB and nothing that follows")
    with pytest.raises(Rejected, match="broken: the GRIB library crashed on it"):
        check_safely(path, EXPECTED, crash)


@pytest.mark.parametrize(("first", "apart"), [(b"GRIB", True), (b"\x89HDF", False)])
def test_only_grib_is_checked_apart(tmp_path: Path, first: bytes, apart: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(first)
    with pytest.raises(Rejected) as error:
        check_safely(path, EXPECTED, refuse)
    assert (str(error.value) != f"{path}: {os.getpid()}") == apart
