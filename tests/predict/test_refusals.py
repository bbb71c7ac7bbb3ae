"""Files that are not what a run was trained on end in one line that says what to do."""

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.predict.config import PredictConfig
from pipeline.predict.maps import _advice
from pipeline.predict.output import format_of
from pipeline.predict.stage import predict
from pipeline.predict.words import options
from pipeline.synthetic.files import Content, read_content, write_content
from pipeline.testing import World, plant, write_world
from tests.conftest import run_job
from tests.predict.finished_runs import Made, opened, report, say
from tests.store.images.made_up_images import name_of, pixels, save, write_series

SMALL = {"start": date(1995, 3, 1), "days": 20, "types": ("1", "2A")}


def refused(made: Made, inputs: list[Path], tmp_path: Path, **more: Any) -> str:
    with pytest.raises(InputError) as caught:
        say(made.opened, inputs, tmp_path / "out.csv", **more)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.csv").exists()
    return str(caught.value)


def test_maps_without_a_variable(maps: Made, tmp_path: Path) -> None:
    write_world(World(**SMALL, groups=("msl",)), tmp_path / "raw")
    text = refused(maps, [tmp_path / "raw"], tmp_path)
    assert text.startswith("new files: no file holds sst (sea surface temperature); there is ")
    assert text.endswith("add the files with it (this run reads msl, msl_dt24, grad_msl, sst)")


def test_maps_of_another_grid(maps: Made, tmp_path: Path) -> None:
    write_world(World(**SMALL, groups=("msl", "sst"), lat_points=17, lon_points=9), tmp_path / "raw")
    text = refused(maps, [tmp_path / "raw"], tmp_path)
    assert "latitudes 17 from 55 to 15 every 2.5 and longitudes 9 from 115 to 155 every 5" in text
    assert "was trained on latitudes 9 from 55 to 15 every 5 and longitudes 9 from 115 to 155 every 5" in text
    assert "cutting does not help" in text
    assert not list(tmp_path.rglob("*.nc.part"))
    assert not list((tmp_path / ".out.csv.work").glob("derived*"))  # refused before anything is derived


def test_cutting_is_advised_where_it_helps() -> None:
    wanted = (55.0, 50.0, 45.0), (115.0, 120.0)
    larger = (60.0, 55.0, 50.0, 45.0, 40.0), (110.0, 115.0, 120.0, 125.0)
    assert _advice(wanted, larger, 1) == ", or cut it out: cdo sellonlatbox,115,120,45,55 in.nc out.nc"
    finer = tuple(np.arange(60.0, 39.0, -2.5).tolist()), larger[1]
    for other in (finer, (larger[0][:2], larger[1]), ((61.0, 56.0, 51.0, 46.0), larger[1])):
        assert "cutting does not help" in _advice(wanted, other, 1)


def test_maps_of_another_grid_without_knowing_ours(maps: Made, tmp_path: Path) -> None:
    shutil.copytree(maps.run, tmp_path / "run")
    norm = json.loads((tmp_path / "run" / "norm.json").read_text())
    del norm["grid"]
    (tmp_path / "run" / "norm.json").write_text(json.dumps(norm))
    write_world(World(**SMALL, groups=("msl", "sst"), lat_points=17), tmp_path / "raw")
    run = opened(tmp_path / "run")
    with pytest.raises(InputError, match=r"17 × 9 points \(latitude × longitude\), run was trained on 9 × 9"):
        say(run, [tmp_path / "raw"], tmp_path / "out.csv")
    stores = maps.home / "data" / "store" / "maps"
    with pytest.raises(InputError, match="trained on latitudes 9 from 55 to 15"):
        say(opened(tmp_path / "run", stores), [tmp_path / "raw"], tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("missing_units", "has no units"),
        ("mislabelled_units", "is the attribute units = "),
        ("nan", "missing or infinite in 1 cells"),
        ("truncated_file", "truncated or corrupt"),
        ("duplicate_times", "times must ascend, each once"),
    ],
)
def test_maps_with_a_fault(maps: Made, tmp_path: Path, fault: str, told: str) -> None:
    write_world(World(**SMALL, groups=("msl", "sst")), tmp_path / "raw")
    plant(fault, tmp_path / "raw" / "era5_msl_1995-03.nc")
    assert told in refused(maps, [tmp_path / "raw"], tmp_path)


def test_units_that_are_known_are_converted(maps: Made, tmp_path: Path) -> None:
    write_world(World(**SMALL, groups=("msl", "sst")), tmp_path / "raw")
    plain = say(maps.opened, [tmp_path / "raw"], tmp_path / "plain.json").output
    plant("wrong_units", tmp_path / "raw" / "era5_msl_1995-03.nc")
    plant("flipped_latitude", tmp_path / "raw" / "era5_sst_1995-03.nc")
    other = say(maps.opened, [tmp_path / "raw"], tmp_path / "other.json").output
    values = [
        [list(one["probability"].values()) for one in json.loads(path.read_text())["samples"]]
        for path in (plain, other)
    ]
    # Pressure in hPa as float32 has steps of 6e-5 hPa: 1e-5 of a standard deviation.
    np.testing.assert_allclose(values[0], values[1], rtol=0, atol=1e-4)


def test_files_with_several_hours_a_day(maps: Made, tmp_path: Path) -> None:
    """The run was derived from one time a day, so nothing says which hour it knows."""
    write_world(World(**SMALL, groups=("msl", "sst")), tmp_path / "raw")
    plain = say(maps.opened, [tmp_path / "raw"], tmp_path / "plain.csv").output
    for path in (tmp_path / "raw").glob("*.nc"):
        content = read_content(path)
        times = np.stack([content.header.times, content.header.times + 12 * 3600], axis=1).ravel()
        arrays = {name: np.repeat(values, 2, axis=0) for name, values in content.arrays.items()}
        write_content(path, Content(replace(content.header, times=times), arrays))
    text = refused(maps, [tmp_path / "raw"], tmp_path)
    assert "set the UTC hour to keep, for example predict.hours=[0]" in text
    assert say(maps.opened, [tmp_path / "raw"], tmp_path / "h.csv", hours=[0]).output.read_bytes() == plain.read_bytes()


def test_another_unit_of_the_training(maps: Made, tmp_path: Path) -> None:
    run = maps.opened
    store = run.settings.store.model_copy(update={"slp_to_hpa": False})
    settings = type("Settings", (), {"derive": run.settings.derive, "store": store, "train": run.settings.train})()
    changed = type(run)(run.path, settings, run.norm, run.decisions, run.stores)
    with pytest.raises(InputError, match="trained with msl in 'hPa', this program derives it in 'Pa'"):
        say(changed, [maps.home / "raw"], tmp_path / "out.csv")


def test_kinds_of_files_that_a_run_does_not_read(maps: Made, charts: Made, both: Made, tmp_path: Path) -> None:
    images, raw, rates = charts.home / "eur_15m_winsize4" / "test", maps.home / "raw", charts.home / "rates.csv"
    assert "was trained on maps; give NetCDF or GRIB files" in refused(maps, [images], tmp_path)
    assert "was trained on images; give image files" in refused(charts, [raw], tmp_path)
    assert "reads no series; leave the file out" in refused(charts, [images, rates], tmp_path)
    assert "windows of 5 rows of f0, f1; give the CSV file of the series" in refused(both, [images], tmp_path)
    assert "no image among the new files" in refused(both, [rates], tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    assert "neither NetCDF or GRIB, nor an image" in refused(maps, [tmp_path / "notes.txt"], tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no NetCDF, GRIB or image file in it" in refused(maps, [tmp_path / "empty"], tmp_path)
    assert "no such file or folder" in refused(maps, [tmp_path / "nowhere"], tmp_path)
    assert "no new files; give raw files" in refused(maps, [], tmp_path)


def test_images_of_another_size_and_broken_ones(charts: Made, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    save(folder / name_of(1, 0), pixels(1))
    save(folder / name_of(2, 0), pixels(2, 20, 20))
    text = refused(charts, [folder], tmp_path)
    assert "20 × 20 pixels (height × width)" in text
    assert "was trained on 16 × 24" in text
    (folder / name_of(2, 0)).write_bytes(b"no image")
    assert "not a PNG, JPEG" in refused(charts, [folder], tmp_path)
    done = say(charts.opened, [folder], tmp_path / "out.csv", skip_broken=True)
    assert done.samples == 1
    assert report(done.output)["left_out"] == [name_of(2, 0)]


def test_a_series_of_other_columns_times_or_names(both: Made, tmp_path: Path) -> None:
    images = both.home / "eur_15m_winsize4" / "test"
    write_series(tmp_path / "rates.csv", range(150), features=1)
    assert "f1 not in " in refused(both, [images, tmp_path / "rates.csv"], tmp_path)
    write_series(tmp_path / "rates.csv", range(1000, 1100))
    assert "no image has a row in its window" in refused(both, [images, tmp_path / "rates.csv"], tmp_path)
    save(tmp_path / "plain" / "photo.png", pixels(1))
    assert "photo.png: no time" in refused(both, [tmp_path / "plain", both.home / "rates.csv"], tmp_path)


def test_gaps_and_strange_maps_are_told(maps: Made, tmp_path: Path) -> None:
    """A day without the day before has no change of pressure; pressures of 500 hPa everywhere are no weather."""
    write_world(World(**SMALL, groups=("msl", "sst")), tmp_path / "raw")
    shutil.copytree(maps.run, tmp_path / "run")
    path = tmp_path / "run" / "norm.json"
    norm = json.loads(path.read_text())
    place = norm["inputs"]["grid"]["channels"].index("msl")
    for scale in (norm["inputs"]["grid"], norm["inputs"]["grid"]["stored"]):
        scale["mean"][place] = 500.0
    path.write_text(json.dumps(norm))
    done = say(opened(tmp_path / "run"), [tmp_path / "raw"], tmp_path / "out.csv")
    assert report(done.output)["strange"] == {"msl": 20}
    assert report(say(maps.opened, [tmp_path / "raw"], tmp_path / "b.csv").output)["strange"] == {}


def test_unfinished_runs(maps: Made, tmp_path: Path) -> None:
    for name, told in (
        ("model.pt", "its training is not finished"),
        ("thresholds.json", "run the thresholds job first"),
    ):
        shutil.copytree(maps.run, tmp_path / name)
        (tmp_path / name / name).unlink()
        with pytest.raises(InputError, match=told):
            opened(tmp_path / name)


def test_a_model_of_other_contents(maps: Made, charts: Made, tmp_path: Path) -> None:
    shutil.copytree(maps.run, tmp_path / "run")
    path = tmp_path / "run" / "model.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model\.pt: not a readable checkpoint"):
        say(opened(tmp_path / "run"), [maps.home / "raw"], tmp_path / "out.csv")
    shutil.copy(charts.run / "model.pt", path)
    with pytest.raises(InputError):
        say(opened(tmp_path / "run"), [maps.home / "raw"], tmp_path / "out.csv")


def test_formats_of_output() -> None:
    assert [format_of(name, "auto") for name in ("", "a.csv", "a.JSON", "a.nc")] == ["csv", "csv", "json", "netcdf"]
    assert format_of("", "netcdf") == "netcdf"
    for name, wanted in (("a.txt", "auto"), ("a.csv", "json")):
        with pytest.raises(InputError, match=r"predict\.output"):
            format_of(name, wanted)


def test_words(maps: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.nc").touch()
    typed = [
        str(maps.run),
        "new.nc",
        "--output",
        "x.csv",
        str(maps.run),
        "predict.threads=2",
        "--skip-broken",
        "b=c.nc",
    ]
    assert options(typed) == [
        str(maps.run),
        f'predict.runs=["{maps.run}"]',
        f'predict.inputs=["{tmp_path}/new.nc"]',
        "--output",
        "x.csv",
        "predict.threads=2",
        "--skip-broken",
        "b=c.nc",
    ]
    (tmp_path / "b=c.nc").touch()
    assert f'predict.inputs=["{tmp_path}/new.nc", "{tmp_path}/b=c.nc"]' in options(typed)


def test_the_command(charts: Made, tmp_path: Path) -> None:
    images = charts.home / "eur_15m_winsize4" / "test"
    done = run_job("predict", charts.run, images, "--output", tmp_path / "out.csv", "predict.threads=1")
    assert done.code == 0, done.text
    assert f"wrote: {tmp_path / 'out.csv'} (30 samples)" in done.text
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert rows[0] == "id,time,date,group,labels,p_Up,p_Down,p_Flat,raw_Up,raw_Down,raw_Flat"
    assert len(rows) == 31
    foreign = run_job("predict", charts.run, images, "train.seed=3")
    assert (foreign.code, foreign.text.count(" ERROR ")) == (2, 1)
    assert "a run predicts as it was trained" in foreign.text
    nothing = run_job("predict", images, images)
    assert (nothing.code, nothing.text.count(" ERROR ")) == (2, 1)
    assert "not a run folder" in nothing.text


def test_without_output_it_goes_into_the_run(charts: Made, tmp_path: Path) -> None:
    shutil.copytree(charts.run, tmp_path / "run")
    config = PredictConfig(inputs=[str(charts.home / "eur_15m_winsize4" / "test")], threads=1)
    done = predict(config, [opened(tmp_path / "run")], Interrupt())
    assert done.output.parent == tmp_path / "run" / "predict"
    assert done.output.name.startswith("test-")
    assert done.output.suffix == ".csv"


def test_a_file_of_somebody_else_is_not_overwritten(charts: Made, tmp_path: Path) -> None:
    images, output = charts.home / "eur_15m_winsize4" / "test", tmp_path / "out.csv"
    output.write_text("mine")
    with pytest.raises(InputError, match="exists already and was not written by a prediction"):
        say(charts.opened, [images], output)
    assert output.read_text() == "mine"
    output.unlink()
    say(charts.opened, [images], output)
    assert say(charts.opened, [images], output, skip_broken=True).samples == 30
