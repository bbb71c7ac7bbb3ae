"""Real deliveries, where this machine has them: read, or refused with the one line that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.derive.series import open_archive
from tests.conftest import SHARED
from tests.derive.raw_files import load, run, settings

MSL = ("msl", None)


def real(name: str) -> Path:
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


def test_natlantic(tmp_path: Path) -> None:
    """NCEP's daily means: latitude ascends, units of everything by attributes, eight years."""
    raw, csv = real("natlantic/slp_daily_2001_2008.nc"), real("natlantic/lamb_types_2001_2008.csv")
    fields = ["msl", "msl_dt24", "grad_msl", "lap_msl", "ug", "vg", "vog"]
    config = settings(raw, fields=fields, labels={"files": [str(csv)], "label_column": "labels"})
    spec = run(config, tmp_path / "out")
    data = load(tmp_path / "out", spec)
    assert len(spec.pieces) == 96
    assert sum(piece.days for piece in spec.pieces) == data.sizes["time"] == 2922
    assert spec.latitude == tuple(np.arange(70, 29, -2.5))
    assert spec.longitude == tuple(np.arange(-70, 11, 2.5))
    assert data["date"].values[[0, -1]].tolist() == ["2001-01-01", "2008-12-31"]
    assert (data["label"] != "").all()
    assert np.isnan(data["msl_dt24"].values).all(axis=(1, 2)).tolist() == [True] + [False] * 2921
    # Climate of the North Atlantic: the Icelandic low is deeper than the Azores high, westerlies lie between them.
    mean = data.mean("time")
    iceland, azores = (mean["msl"].sel(latitude=lat, longitude=lon).item() for lat, lon in ((62.5, -25), (37.5, -25)))
    assert 99_500 < iceland < 101_000 < 101_500 < azores < 103_000
    assert 5 < mean["ug"].sel(latitude=50, longitude=-25).item() < 15
    assert mean["vog"].sel(latitude=62.5, longitude=-30).item() > 0 > mean["vog"].sel(latitude=35, longitude=-30).item()


def test_old_layout_with_int16(tmp_path: Path) -> None:
    archive = open_archive([real("cds_samples/old_cds__era5_japan_msl_monthly_2018_2021_int16.nc")], [MSL])
    series = archive.series[MSL]
    values = series.read(series.seconds)
    assert values.shape == (48, 59, 65)
    assert 99_000 < values.min() < values.max() < 105_000
    assert np.datetime64(int(series.seconds[0]), "s") == np.datetime64("2018-01-01")
    assert np.all(np.diff(archive.grid.latitude) < 0)


def test_old_layout_with_versions() -> None:
    """The same fields with an ``expver`` dimension are the same fields."""
    names = ("DERIVED_old_cds_expver_dim_msl_japan.nc", "old_cds__era5_japan_msl_monthly_2018_2021_int16.nc")
    split, plain = (open_archive([real(f"cds_samples/{name}")], [MSL]) for name in names)
    assert split.grid.same(plain.grid)
    seconds = plain.series[MSL].seconds
    np.testing.assert_array_equal(split.series[MSL].seconds, seconds)
    np.testing.assert_allclose(split.series[MSL].read(seconds), plain.series[MSL].read(seconds), atol=0.2)


def test_new_layout_with_levels(tmp_path: Path) -> None:
    raw = real("cds_samples/DERIVED_new_cds_layout_z_t_pressure_level.nc")
    data = load(tmp_path / "out", run(settings(raw, fields=["gh500"], hours=[0, 12]), tmp_path / "out"))
    assert data.sizes == {"time": 4, "latitude": 61, "longitude": 120}
    # 120 meridians 3 degrees apart: the globe, from −180.
    assert data["longitude"].values[[0, -1]].tolist() == [-180.0, 177.0]
    assert 4600 < data["gh500"].min() < 5200 < 5800 < data["gh500"].max() < 6000


def test_new_layout_of_wind(tmp_path: Path) -> None:
    raw = real("cds_samples/new_cds__u10v10_germany_20251104_hourly_era5t.nc")
    config = settings(raw, fields=["u10", "v10"], hours=[0], timezone="Europe/Berlin")
    data = load(tmp_path / "out", run(config, tmp_path / "out"))
    assert data["date"].values.tolist() == ["2025-11-04"]
    assert float(np.abs(data["u10"]).max()) < 30


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("DERIVED_new_cds_layout_z_t_pressure_level.nc", r"no file holds msl .*; there is z, t in DERIVED_new\S+\.nc;"),
        ("new_cds__u10v10_germany_20251104_hourly_era5t.nc", r"no file holds msl .*; there is u10, v10 in new_cds\S+;"),
        (
            "new_cds_zip_named_nc__flujos_valdivia_era5.nc",
            r"no file holds msl .*; there is slhf, sshf, ssr, str, sst in",
        ),
    ],
)
def test_refused_in_one_line(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        open_archive([real(f"cds_samples/{name}")], [MSL])
    assert "\n" not in str(caught.value)
