"""No name that comes from a file or a setting leads out of the folder of runs or of data."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from pipeline.core.artifact import check_files
from pipeline.core.config import load
from pipeline.core.errors import InputError
from pipeline.download.unpack import settle
from pipeline.experiment import Experiment
from pipeline.raw.archive import unpacked
from pipeline.tune.config import TuneConfig
from tests.badinput.ground import Grounds, errors

OUTSIDE = ("../x", "..", ".", "/x", "a/b", "a\\b", "../../../../tmp/x", ".hidden")


def netcdf(path: Path) -> bytes:
    with netCDF4.Dataset(path, "w") as data:
        data.createDimension("time", 2)
        data.createVariable("time", "f8", ("time",))[:] = np.arange(2)
    return path.read_bytes()


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("key", ["name", "dataset"])
def test_names_of_folders(tmp_path: Path, key: str, name: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(json.dumps({"name": "x", key: name}))
    with pytest.raises(InputError, match=rf"{key}: string should match pattern"):
        load(path, Experiment)


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_of_studies(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.yaml"
    space = {"learning_rate": {"type": "float", "low": 1, "high": 2}}
    path.write_text(json.dumps({"base": "b", "study": {"name": name}, "search_space": space}))
    with pytest.raises(InputError, match=r"study\.name: string should match pattern"):
        load(path, TuneConfig)


@pytest.mark.parametrize("name", ["../../evil.nc", "/tmp/evil-of-a-zip.nc", "a/../../../evil.nc"])
def test_members_of_archives_are_not_written_under_their_names(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    contents = netcdf(tmp_path / "plain.nc")
    before = {path for path in tmp_path.rglob("*")}
    path = inside / "answer.nc"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, contents)
    members = list(unpacked(path))
    assert [member for member, _ in members] == [name]
    settle(path)
    assert path.read_bytes() == contents
    assert {other for other in tmp_path.rglob("*")} - before == {path}
    assert not Path("/tmp/evil-of-a-zip.nc").exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret"])
def test_lists_of_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "store").mkdir()
    with pytest.raises(InputError, match="which is not in it"):
        check_files(tmp_path / "store", {name: {"bytes": 1, "sha256": ""}})


def test_a_store_that_names_a_file_elsewhere(grounds: Grounds, tmp_path: Path) -> None:
    place = grounds.copy("trained", tmp_path / "place")
    path = place.one("data/store/tiny/*/store.json")
    value = json.loads(path.read_text())
    value["inputs"]["grid"]["file"] = "/etc/hostname"
    path.write_text(json.dumps(value))
    ended = grounds.run(place, "train", "./tiny.yaml", "train.seed=7")
    assert (ended.code, "Traceback" in ended.text) == (2, False), ended.text
    assert "/etc/hostname is not among its files" in errors(ended)[0]


def test_a_derived_manifest_that_names_a_file_elsewhere(grounds: Grounds, tmp_path: Path) -> None:
    place = grounds.copy("trained", tmp_path / "place")
    path = place.one("data/derived/*/manifest.json")
    value = json.loads(path.read_text())
    value["pieces"][0]["file"] = "../../../../../etc/hostname"
    path.write_text(json.dumps(value))
    ended = grounds.run(place, "store", "./tiny.yaml", "store.dtype=float16")
    assert (ended.code, "Traceback" in ended.text) == (2, False), ended.text
    assert "which is not in it" in errors(ended)[0]


def test_a_run_folder_that_is_a_link_to_elsewhere(grounds: Grounds, tmp_path: Path) -> None:
    """The link ``latest`` is replaced and never written through: what it pointed to stays as it was."""
    place = grounds.copy("raw", tmp_path / "place")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (place.home / "results" / "tiny").mkdir(parents=True)
    (place.home / "results" / "tiny" / "latest").symlink_to(elsewhere)
    grounds.done(place, "derive", "store", "train")
    assert not list(elsewhere.iterdir())
    assert (place.home / "results" / "tiny" / "latest").resolve().parent == (place.home / "results" / "tiny").resolve()


def test_a_temporary_name_that_is_a_link(tmp_path: Path) -> None:
    """Somebody who may write into the folder could plant a link under the fixed temporary name.

    Folders of data and results are the user's own; where others may write too, they may do worse than this. The test
    holds what is true: the final name is a file of ours afterwards.
    """
    from pipeline.core.artifact import write_text

    (tmp_path / "other").write_text("kept")
    (tmp_path / ".a.txt.part").symlink_to(tmp_path / "other")
    write_text(tmp_path / "a.txt", "ours")
    assert (tmp_path / "a.txt").read_text() == "ours"
    assert (tmp_path / "other").read_text() == "kept"
