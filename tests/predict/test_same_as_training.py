"""New files that are the test samples' own give the probabilities that the run itself wrote."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline.core.errors import Interrupted
from pipeline.predict import charts as charts_module
from tests.predict.finished_runs import MAPS, TRAIN, Made, finish, opened, report, say
from tests.stopping import StopAt

ROUNDING = 1e-6
"""Of probabilities: batches of another make-up may sum a convolution in another order (float32, 1e-7 of a logit)."""


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def numbers(found: dict[str, Any], key: str, ids: list[str]) -> np.ndarray:
    of = {Path(one["id"]).name: list(one[key].values()) for one in found["samples"]}
    return np.array([of[Path(name).name] for name in ids])


def labels(found: dict[str, Any], ids: list[str]) -> np.ndarray:
    of = {Path(one["id"]).name: [name in one["labels"] for name in found["classes"]] for one in found["samples"]}
    return np.array([of[Path(name).name] for name in ids])


def check(made: Made, found: dict[str, Any], tolerance: float = ROUNDING) -> None:
    predictions, probability, decided = made.test()
    ids = predictions.ids.tolist()
    assert len(ids) > 20
    np.testing.assert_allclose(numbers(found, "probability", ids), probability, rtol=0, atol=tolerance)
    raw = made.opened.decisions.raw(predictions.logits)
    np.testing.assert_allclose(numbers(found, "raw", ids), raw, rtol=0, atol=tolerance)
    assert (labels(found, ids) == decided).all()


def test_maps_of_the_test_days_alone(maps: Made, tmp_path: Path) -> None:
    """Of 1994 there is December only, and the run was tested on it."""
    for path in (maps.home / "raw").glob("*_1994-12.nc"):
        shutil.copy(path, tmp_path / path.name)
    done = say(maps.opened, [tmp_path], tmp_path / "out.json")
    found = read(done.output)
    assert [one["id"] for one in found["samples"]] == [f"1994-12-{day:02}" for day in range(1, 32)]
    assert found["samples"][0]["time"] == "1994-12-01T00:00:00Z"
    check(maps, found, tolerance=0)
    assert report(done.output)["filled"] == 0


def test_all_maps_are_the_same_in_other_batches(maps: Made, tmp_path: Path) -> None:
    whole = say(maps.opened, [maps.home / "raw"], tmp_path / "a.json")
    parts = say(maps.opened, [maps.home / "raw"], tmp_path / "b.json", batch_size=7)
    assert whole.samples == 430
    check(maps, read(parts.output))
    values = [
        numbers(read(one.output), "probability", [s["id"] for s in read(whole.output)["samples"]])
        for one in (whole, parts)
    ]
    np.testing.assert_allclose(values[0], values[1], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("fold", ["default", "1995"])
def test_maps_that_are_cut_coarsened_masked_and_of_another_fold(raw_home: Path, tmp_path: Path, fold: str) -> None:
    store = {
        "channels": ["sst", "msl", "msl_dt24"],
        "region": {"south": 25, "north": 55, "west": 115, "east": 150},
        "coarsen": 2,
        "mask_missing": True,
        "dtype": "float16",
        "scalars": ["f1_season_sin"],
        "split": {"train": [1994, 1995], "val": [1996], "leave_one_year_out": True},
    }
    train = TRAIN | {"fold": fold, "model": {"hidden": 16, "coordinates": True}}
    made = finish(raw_home, MAPS | {"store": store, "train": train})
    found = read(say(made.opened, [raw_home / "raw"], tmp_path / "out.json").output)
    if fold == "default":
        return check_validation(made, found)
    check(made, found)
    return None


def check_validation(made: Made, found: dict[str, Any]) -> None:
    from pipeline.contract.predictions import load_split

    predictions = load_split(made.run, "val")
    expected = made.opened.decisions.probabilities(predictions.logits)
    got = numbers(found, "probability", predictions.ids.tolist())
    np.testing.assert_allclose(got, expected, rtol=0, atol=ROUNDING)


def test_charts(charts: Made, tmp_path: Path) -> None:
    done = say(charts.opened, [charts.home / "eur_15m_winsize4" / "test"], tmp_path / "out.json")
    found = read(done.output)
    check(charts, found, tolerance=0)
    assert all(len(one["labels"]) == 1 for one in found["samples"])
    assert found["samples"][0]["time"] == "2024-01-02T12:30:00Z"
    assert found["samples"][0]["group"] == "eur"


def test_charts_with_series(both: Made, tmp_path: Path) -> None:
    images = both.home / "eur_15m_winsize4" / "test"
    done = say(both.opened, [images, both.home / "rates.csv"], tmp_path / "out.json")
    check(both, read(done.output), tolerance=0)


def test_windows_that_are_made_a_few_at_a_time(both: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts_module, "_WINDOW_BYTES", 5 * 2 * 4 * 7)
    images = both.home / "eur_15m_winsize4" / "test"
    done = say(both.opened, [images, both.home / "rates.csv"], tmp_path / "out.json", batch_size=3)
    check(both, read(done.output))


def test_a_list_of_charts_with_times_of_its_own(both: Made, tmp_path: Path) -> None:
    """File names say nothing; the list says when, and which series."""
    predictions, probability, _ = both.test()
    lines = ["file,time,group"]
    for number, name in enumerate(predictions.ids.tolist()):
        source = both.home / name
        shutil.copy(source, tmp_path / f"{number:02}.png")
        day, clock = source.stem.split("_")[2:4]
        lines.append(f"{number:02}.png,{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:]},eur")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    done = say(both.opened, [tmp_path / "list.csv", both.home / "rates.csv"], tmp_path / "out.json")
    ids = [f"{number:02}.png" for number in range(len(probability))]
    np.testing.assert_allclose(numbers(read(done.output), "probability", ids), probability, rtol=0, atol=0)


def test_the_run_folder_is_enough(maps: Made, charts: Made, tmp_path: Path) -> None:
    """Neither data nor store nor checkpoints are there, and the folder has moved."""
    for number, (made, source) in enumerate(((maps, "raw"), (charts, "eur_15m_winsize4/test"))):
        alone = tmp_path / f"laptop{number}"
        shutil.copytree(
            made.run, alone, ignore=shutil.ignore_patterns("checkpoints", "predictions_test.npz", "*.best.pt")
        )
        done = say(opened(alone), [made.home / source], tmp_path / f"{number}.json")
        check(made, read(done.output))


def test_formats_agree(maps: Made, tmp_path: Path) -> None:
    december = sorted((maps.home / "raw").glob("*_1994-12.nc"))
    found = read(say(maps.opened, december, tmp_path / "out.json").output)
    with (say(maps.opened, december, tmp_path / "out.csv").output).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    netcdf = say(maps.opened, december, tmp_path / "out.nc").output
    with xr.open_dataset(netcdf, engine="h5netcdf") as data:
        expected = numbers(found, "probability", [one["id"] for one in found["samples"]])
        assert (data["probability"].values == expected).all()
        assert data["time"].values.astype("datetime64[D]").astype(str).tolist() == [row["date"] for row in rows]
        assert data["class"].values.tolist() == found["classes"]
        assert data["threshold"].values.tolist() == found["thresholds"]
    assert [row["labels"] for row in rows] == ["+".join(one["labels"]) for one in found["samples"]]
    printed = np.array([[float(row[f"p_{name}"]) for name in found["classes"]] for row in rows])
    np.testing.assert_allclose(printed, expected, rtol=5e-6, atol=0)  # six digits are printed
    first = netcdf.read_bytes()
    netcdf.unlink()
    assert say(maps.opened, december, tmp_path / "out.nc").output.read_bytes() == first


@pytest.mark.parametrize("looks", [0, 9, 30])
def test_stopped_anywhere_it_ends_with_the_same_bytes(maps: Made, tmp_path: Path, looks: int) -> None:
    raw = maps.home / "raw"
    whole = say(maps.opened, [raw], tmp_path / "whole.csv", batch_size=16).output.read_bytes()
    output = tmp_path / "out.csv"
    with pytest.raises(Interrupted, match="run the same command again"):
        say(maps.opened, [raw], output, StopAt(looks + 1), batch_size=16)
    assert not output.exists()
    (journal,) = [*(tmp_path / ".out.csv.work").glob("*.f32"), None][:1]
    if journal is not None:  # as a kill inside a write leaves it, and a bad disk
        data = bytearray(journal.read_bytes() + b"\0" * 33)
        data[len(data) // 2] ^= 8
        journal.write_bytes(data)
    done = say(maps.opened, [raw], output, batch_size=16)
    assert output.read_bytes() == whole
    assert not done.fresh
    assert not (tmp_path / ".out.csv.work").exists()
    assert say(maps.opened, [raw], output, batch_size=16).fresh
    output.write_text("changed")
    assert not say(maps.opened, [raw], output, batch_size=16).fresh
