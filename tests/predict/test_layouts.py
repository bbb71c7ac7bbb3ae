"""New files in every layout that derive reads."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.artifact import MANIFEST, sha256, write_json
from pipeline.testing import World, write_world
from tests.predict.conftest import WORLD
from tests.predict.finished_runs import Made, say


def december(layout: str) -> World:
    return replace(WORLD, start=date(1994, 12, 1), days=31, layout=layout)


def raw_probabilities(output: Path) -> np.ndarray:
    return np.array([list(one["raw"].values()) for one in json.loads(output.read_text())["samples"]])


@pytest.mark.parametrize(("layout", "tolerance"), [("old", 2e-3), ("old_expver", 2e-3), ("zip", 0), ("grib", 2e-3)])
def test_a_layout(maps: Made, tmp_path: Path, layout: str, tolerance: float) -> None:
    """Packed to 16 bits pressure has steps of 0.1 Pa, and its gradient steps of 1 % of its spread."""
    if layout == "grib":
        pytest.importorskip("eccodes")
    for name in ("cds", layout):
        write_world(december(name), tmp_path / name)
    whole = say(maps.opened, [tmp_path / "cds"], tmp_path / "a.json")
    other = say(maps.opened, [tmp_path / layout], tmp_path / "b.json")
    assert (whole.samples, other.samples) == (31, 31)
    expected, got = (raw_probabilities(one.output) for one in (whole, other))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)
    assert np.ptp(expected, axis=0).min() > 10 * tolerance


def test_a_download_is_read_by_its_manifest(maps: Made, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    files = write_world(december("cds"), folder).files
    (folder / "unfinished.nc").write_bytes(b"CDF\x01")
    listed = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path), "preliminary": False} for path in files}
    write_json(folder / MANIFEST, {"format": 1, "complete": True, "files": listed})
    by_folder = say(maps.opened, [folder], tmp_path / "a.json").output
    by_name = say(maps.opened, [folder / MANIFEST], tmp_path / "b.json").output
    by_files = say(maps.opened, list(files), tmp_path / "c.json").output
    assert by_folder.read_bytes() == by_name.read_bytes() == by_files.read_bytes()


def test_files_by_pattern_and_twice(maps: Made, tmp_path: Path) -> None:
    write_world(december("cds"), tmp_path / "raw [1]")
    once = say(maps.opened, [tmp_path / "raw [1]"], tmp_path / "a.json").output
    (tmp_path / "raw [1]").rename(tmp_path / "raw")
    twice = say(maps.opened, [tmp_path / "raw", tmp_path / "raw" / "*.nc"], tmp_path / "b.json").output
    assert once.read_bytes() == twice.read_bytes()
