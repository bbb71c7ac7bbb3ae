"""Worlds with known truth: the layout of the files, the physics of the fields, the truth of the labels, the faults."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from zipfile import ZipFile

import netCDF4
import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from pipeline.core.errors import InputError
from pipeline.synthetic.files import VARIABLES
from pipeline.synthetic.plan import SYSTEMS, TYPES, Array
from pipeline.testing import FAULTS, GROUPS, World, labels, plant, truth, write_world

SAMPLES = Path(__file__).parents[2] / "shared" / "data" / "cds_samples"
RADIUS, GAS, GRAVITY = 6_371_000.0, 287.05, 9.80665
DEGREE = RADIUS * np.pi / 180  # m
YEAR = World(start=date(1994, 12, 1), days=365, lat_points=41, lon_points=41, seed=5, groups=("all",), per="month")


@pytest.fixture(scope="session")
def fields(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    """Every 1° field of three months of winter, spring and summer: name + level → (day, lat, lon), float64."""
    found: dict[str, list[Array]] = {}
    for start in (date(1995, 1, 1), date(1995, 4, 1), date(1995, 7, 1)):
        folder = tmp_path_factory.mktemp("fields")
        for path in write_world(replace(YEAR, start=start, days=31), folder).files:
            with netCDF4.Dataset(path) as dataset:
                dataset.set_auto_mask(False)
                for name in (name for name in dataset.variables if name in VARIABLES):
                    values = dataset[name][:].astype(np.float64)
                    if "pressure_level" not in dataset.variables:
                        found.setdefault(name, []).append(values)
                    else:
                        for place, level in enumerate(dataset["pressure_level"][:]):
                            found.setdefault(f"{name}{level:.0f}", []).append(values[:, place])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def msl(world: World, folder: Path) -> Array:
    """Return the sea level pressure (day, lat, lon) of a world [Pa]."""
    with xr.open_mfdataset(write_world(world, folder).files, combine="by_coords") as dataset:
        return dataset["msl"].values


def checksums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


# --- layout ----------------------------------------------------------------------------------------------------------
def shape_of(path: Path) -> dict[str, object]:
    """Return all names, types and kinds of attributes of a file, not their values."""
    with netCDF4.Dataset(path) as dataset:
        kinds = {
            name: (str(v.dtype), v.dimensions, [(a, type(v.getncattr(a))) for a in v.ncattrs()])
            for name, v in dataset.variables.items()
        }
        return {"dims": list(dataset.dimensions), "attributes": dataset.ncattrs(), "variables": kinds}


def test_a_surface_file_is_laid_out_as_the_cds_lays_it_out(tmp_path: Path) -> None:
    real = SAMPLES / "new_cds__u10v10_germany_20251104_hourly_era5t.nc"
    if not real.exists():
        pytest.skip(f"needs {real}")
    (made,) = write_world(World(days=5, groups=("u10_v10",)), tmp_path).files
    assert shape_of(made) == shape_of(real)
    with netCDF4.Dataset(made) as ours, netCDF4.Dataset(real) as theirs:
        assert ours["u10"].filters() == theirs["u10"].filters()
        for name in ("number", "valid_time", "latitude", "longitude"):
            assert str(ours[name].__dict__) == str(theirs[name].__dict__)
        same = ("GRIB_paramId", "GRIB_shortName", "GRIB_name", "units", "standard_name", "coordinates")
        for name in ("u10", "v10"):
            assert [ours[name].getncattr(a) for a in same] == [theirs[name].getncattr(a) for a in same]


def test_a_pressure_level_file_has_levels_downwards_in_hpa(tmp_path: Path) -> None:
    real = SAMPLES / "DERIVED_new_cds_layout_z_t_pressure_level.nc"
    if not real.exists():
        pytest.skip(f"needs {real}")
    (made,) = write_world(World(days=5, groups=("z_500_1000",)), tmp_path).files
    ours, theirs = shape_of(made), shape_of(real)
    assert ours["dims"] == theirs["dims"]
    with netCDF4.Dataset(made) as one, netCDF4.Dataset(real) as other:
        assert one["pressure_level"][:].tolist() == [1000, 500]
        assert one["z"].dimensions == other["z"].dimensions
        for name in ("pressure_level", "valid_time"):
            assert one[name].dtype == other[name].dtype
            assert set(other[name].ncattrs()) <= set(one[name].ncattrs())
        for attribute in ("units", "positive", "stored_direction", "standard_name"):
            assert one["pressure_level"].getncattr(attribute) == other["pressure_level"].getncattr(attribute)


def test_every_group_becomes_a_file_a_month(tmp_path: Path) -> None:
    raw = write_world(World(days=16, start=date(1995, 1, 20), groups=("all",)), tmp_path)
    assert [path.name for path in raw.files] == [
        f"era5_{g}_{month}.nc" for month in ("1995-01", "1995-02") for g in GROUPS
    ]
    for path in raw.files:
        with xr.open_dataset(path) as dataset:
            names, levels = GROUPS[path.stem.split("era5_")[1].rsplit("_", 1)[0]]
            assert tuple(dataset.data_vars) == names
            assert dataset.sizes.get("pressure_level", 0) == len(levels)
            assert set(dataset["expver"].values) == {"0001"}
            assert (np.diff(dataset["latitude"]) < 0).all()
            assert (np.diff(dataset["longitude"]) > 0).all()
            assert {int(hour) for hour in dataset["valid_time"].dt.hour} == {0}
            for name in names:
                assert dataset[name].attrs["units"] == VARIABLES[name].units
                assert dataset[name].dtype == np.float32
    with xr.open_mfdataset([p for p in raw.files if "_msl_" in p.name]) as dataset:
        assert (
            dataset["valid_time"].values.astype("datetime64[D]").tolist()
            == World(days=16, start=date(1995, 1, 20)).dates
        )


# --- determinism -----------------------------------------------------------------------------------------------------
def test_the_same_world_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    write_world(World(days=35, groups=("msl", "uv_850", "sst")), tmp_path / "one")
    program = (
        "import sys; from pathlib import Path; from pipeline.testing import World, write_world; "
        "write_world(World(days=35, groups=('msl', 'uv_850', 'sst')), Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "two")], check=True, cwd=Path(__file__).parents[1])
    assert checksums(tmp_path / "one") == checksums(tmp_path / "two")
    write_world(World(days=35, groups=("msl", "uv_850", "sst"), seed=1), tmp_path / "other")
    assert not set(checksums(tmp_path / "one").values()) & set(checksums(tmp_path / "other").values())


def test_a_day_does_not_depend_on_period_files_or_grid(tmp_path: Path) -> None:
    world = World(start=date(1995, 12, 10), days=60)
    by_month = msl(world, tmp_path / "month")
    assert np.array_equal(by_month, msl(replace(world, per="year"), tmp_path / "year"))
    later = replace(world, start=world.start + timedelta(17), days=20)
    assert np.array_equal(by_month[17:37], msl(later, tmp_path / "later"))
    fine = msl(replace(world, lat_points=41, lon_points=41), tmp_path / "fine")
    assert np.array_equal(by_month, fine[:, ::5, ::5])
    assert [labels(later)[day] for day in later.dates] == [labels(world)[day] for day in later.dates]


def test_finer_grids_show_the_same_map(tmp_path: Path) -> None:
    world = World(days=3)
    coarse, fine = (msl(replace(world, lat_points=n, lon_points=n), tmp_path / str(n)) for n in (41, 161))
    # The packing step of 0.25 Pa; whole degrees are nodes of the interpolation.
    np.testing.assert_allclose(fine[:, ::4, ::4], coarse, atol=0.25)
    # Between the nodes the map is smooth: second differences scale with the square of the spacing (16), ± packing.
    assert np.abs(np.diff(fine, 2, axis=1)).max() < np.abs(np.diff(coarse, 2, axis=1)).max() / 10


# --- physics ---------------------------------------------------------------------------------------------------------
def north(field: Array) -> Array:
    """∂/∂y of (day, 41, 41) without the border."""
    return ((field[:, :-2] - field[:, 2:]) / (2 * DEGREE))[:, :, 1:-1]


def east(field: Array) -> Array:
    """∂/∂x of (day, 41, 41) without the border."""
    return ((field[:, :, 2:] - field[:, :, :-2]) / (2 * DEGREE * COSINE))[:, 1:-1]


LATITUDE = np.arange(55.0, 14.5, -1.0)[:, None]
COSINE = np.cos(np.radians(LATITUDE))


def inner(field: Array) -> Array:
    return field[:, 1:-1, 1:-1]


def correlation(one: Array, other: Array) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_values_are_plausible_and_never_at_the_limit_of_the_packing(fields: dict[str, Array]) -> None:
    assert len(fields) == 30
    assert fields["msl"].min() > 96_000
    assert fields["msl"].max() < 105_000
    for name, values in fields.items():
        variable = VARIABLES[name.rstrip("0123456789") if name not in ("u10", "v10") else name]
        good = values[np.isfinite(values)]
        assert good.min() >= variable.low
        assert good.std() > 0
        assert (good >= variable.high).mean() < 1e-3, name
    winter, summer = slice(0, 31), slice(62, 93)
    assert fields["t850"][summer].mean() > fields["t850"][winter].mean() + 8
    assert fields["tcwv"][summer].mean() > 1.5 * fields["tcwv"][winter].mean()
    assert 5_000 < fields["z500"].mean() / GRAVITY < 5_900


def test_surface_wind_balances_the_pressure_gradient(fields: dict[str, Array]) -> None:
    coriolis = 2 * 7.2921e-5 * np.sin(np.radians(LATITUDE[1:-1]))
    u = -north(fields["msl"]) / (1.2 * coriolis)
    v = east(fields["msl"]) / (1.2 * coriolis)
    # Bound: friction (20°) leaves cos 20° = 0.94; slowing in cyclones and the limit of the speed take some more.
    angle = np.radians(-20)
    wind = inner(fields["u10"]) + 1j * inner(fields["v10"])
    turned = wind * np.exp(1j * angle)
    assert correlation(u, turned.real) > 0.9
    assert correlation(v, turned.imag) > 0.9
    assert correlation(u, wind.real) > 0.8
    # Air flows from high to low pressure near the ground.
    downhill = -(north(fields["msl"]) * wind.imag + east(fields["msl"]) * wind.real)
    assert (downhill > 0).mean() > 0.99


def test_thickness_follows_the_temperature_of_the_layer(fields: dict[str, Array]) -> None:
    thickness = fields["z500"] - fields["z1000"]
    layer = thickness / (GAS * np.log(2))
    # The layer mean (707 hPa) is colder than 850 hPa by a lapse of about 35 % of the step to 500 hPa (~ 8 K).
    assert correlation(layer, fields["t850"]) > 0.98
    assert 5 < (fields["t850"] - layer).mean() < 11
    # 1000 hPa stands R T ln(p/1000) above the ground, T of the lowest air within 200–330 K; no more than packing off.
    log = np.log(fields["msl"] / 1e5)
    steep = np.abs(log) > 0.01
    kelvin = fields["z1000"][steep] / (GAS * log[steep])
    assert kelvin.min() > 200
    assert kelvin.max() < 330


def test_vorticity_and_divergence_are_those_of_the_wind(fields: dict[str, Array]) -> None:
    for level in ("500", "850"):
        u, v = fields[f"u{level}"], fields[f"v{level}"]
        vorticity = east(v) - north(u * COSINE) / COSINE[1:-1]
        # Tolerance: packing of the winds (2⁻⁸ m/s) over two grid steps, four terms: 4 · 2⁻⁹ / (2 · 64 km) ≈ 6e-8.
        np.testing.assert_allclose(vorticity, inner(fields[f"vo{level}"]), atol=1e-7)
    divergence = east(u) + north(v * COSINE) / COSINE[1:-1]
    np.testing.assert_allclose(divergence, inner(fields["d850"]), atol=1e-7)


def test_rain_clouds_and_vapour_go_together(fields: dict[str, Array]) -> None:
    assert correlation(fields["w700"], fields["d850"]) > 0.7
    wet = fields["tp"] > 1e-3
    assert 0.01 < wet.mean() < 0.3
    assert (fields["w500"][wet] < 0).all()
    assert fields["r700"][wet].min() > 50
    assert fields["tcc"][wet].mean() > 0.7 > 0.5 > fields["tcc"].mean()
    flux, limit = np.hypot(fields["viwve"], fields["viwvn"]), 1.001 * fields["tcwv"] * 100
    assert (flux <= limit).all()
    assert correlation(fields["viwve"], fields["tcwv"] * fields["u850"]) > 0.9
    assert np.array_equal(np.isnan(fields["cin"]), fields["cape"] < 1)


def test_sea_temperature_is_missing_on_land_only(fields: dict[str, Array], tmp_path: Path) -> None:
    missing = np.isnan(fields["sst"])
    assert (missing == missing[0]).all()
    assert 0.2 < missing[0].mean() < 0.45
    places = {(40, 116): True, (36, 138): True, (43, 143): True, (24, 121): True, (38, 135): False, (25, 140): False}
    for (lat, lon), dry in places.items():
        assert missing[0, 55 - lat, lon - 115] == dry, (lat, lon)
    ocean = fields["sst"][:, ~missing[0]]
    assert ocean[-1].mean() > ocean[0].mean() + 3
    for name, values in fields.items():
        assert name in ("sst", "cin") or np.isfinite(values).all()


def test_days_remember_the_day_before(tmp_path: Path) -> None:
    maps = msl(World(days=240, start=date(1995, 5, 1), lat_points=9, lon_points=9), tmp_path).reshape(240, -1)
    anomaly = maps - maps.mean(axis=0)
    lagged = [correlation(anomaly[:-lag], anomaly[lag:]) for lag in (1, 10)]
    assert lagged[0] > 0.45
    assert lagged[1] < lagged[0] - 0.25


# --- truth -----------------------------------------------------------------------------------------------------------
def test_labels_are_what_was_written_and_say_the_truth(tmp_path: Path) -> None:
    world = World(days=400)
    with write_world(world, tmp_path).labels.open(encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["date", "label"]
    assert {date.fromisoformat(day): label for day, label in rows[1:]} == labels(world)
    for (day, label), kinds in zip(labels(world).items(), truth(world).values(), strict=True):
        assert tuple(label.replace("-", "+").split("+")) == kinds, day
        assert len(set(kinds)) == len(kinds) <= 2
        assert set(kinds) <= set(TYPES)
        if "+" in label:
            assert list(kinds) == sorted(kinds, key=TYPES.index)


def test_types_come_as_often_as_in_japan() -> None:
    world = World(start=date(1991, 1, 1), days=3653)
    text = list(labels(world).values())
    # About 47 % single, 46 % composite, 7 % transition; ± 4 % for the luck of one seed.
    for share, sign in ((0.46, "+"), (0.07, "-")):
        assert abs(np.mean([sign in label for label in text]) - share) < 0.04
    days = Counter(kind for kinds in truth(world).values() for kind in kinds)
    assert min(days[kind] for kind in TYPES) > 30
    assert days.most_common(1)[0][1] < 0.35 * world.days
    known = truth(world)
    by_month = {kind: Counter(day.month for day, kinds in known.items() if kind in kinds) for kind in TYPES}
    assert by_month["1"][1] > 10 * by_month["1"][7]
    assert by_month["5"][8] > 10 * by_month["5"][2]
    assert by_month["6A"][9] > 5 * by_month["6A"][2]
    assert by_month["4B"][6] > 3 * by_month["4B"][1]


def test_every_map_holds_the_systems_of_its_label(tmp_path: Path) -> None:
    world = World(start=date(1991, 1, 1), days=1461, noise=0.5, seasonality=0)
    maps = msl(replace(world, per="year"), tmp_path) / 100
    month = np.array([day.month for day in world.dates])
    maps -= np.stack([maps[month == m].mean(axis=0) for m in month])
    kinds = list(truth(world).values())
    for kind in TYPES:
        strength, lat, lon = SYSTEMS[kind][0][:3]
        row, column = round((55 - lat) / 5), round(max(lon - 115, 0) / 5)
        has = np.array([kind in each for each in kinds])
        difference = maps[has, row, column].mean() - maps[~has, row, column].mean()
        # A grid of 5° may miss the centre by 3.5°; half of the strength is still sure to be seen but for typhoons.
        assert difference / strength > (0.2 if kind[0] in "46" else 0.4), (kind, difference, strength)


def test_few_types_and_no_seasons_can_be_asked_for() -> None:
    world = World(start=date(1995, 1, 1), days=60, types=("1", "3B", "5"), seasonality=0)
    days = Counter(kind for kinds in truth(world).values() for kind in kinds)
    assert set(days) == {"1", "3B", "5"}
    assert min(days.values()) >= 8


def test_types_can_be_learned_from_maps(tmp_path: Path) -> None:
    world = World(start=date(1991, 1, 1), days=4 * 365, per="year")
    maps = msl(world, tmp_path).reshape(world.days, -1)
    month = np.array([day.month for day in world.dates])
    scores = {"model": [], "climatology": []}
    train, test = slice(0, 3 * 365), slice(3 * 365 + 7, None)
    maps = (maps - maps[train].mean(axis=0)) / maps[train].std()
    for kind in ("1", "2A", "2B", "3B", "4A", "4B", "5", "6A"):
        has = np.array([kind in kinds for kinds in truth(world).values()])
        model = LogisticRegression(C=0.1, max_iter=200).fit(maps[train], has[train])
        usual = np.array([has[train][month[train] == m].mean() for m in month[test]])
        scores["model"].append(average_precision_score(has[test], model.predict_proba(maps[test])[:, 1]))
        scores["climatology"].append(average_precision_score(has[test], usual))
    # A linear model on 81 points is far above the season and far below perfect.
    assert np.mean(scores["model"]) > np.mean(scores["climatology"]) + 0.3
    assert np.mean(scores["model"]) < 0.95


# --- layouts of former years -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["old", "old_expver"])
def test_old_layouts_hold_the_same_values(tmp_path: Path, layout: str) -> None:
    world = World(days=31, groups=("msl", "z_500_1000", "t_850", "sst"))
    new, old = (write_world(replace(world, layout=name), tmp_path / name) for name in ("cds", layout))
    for one, other in zip(new.files, old.files, strict=True):
        with xr.open_dataset(one) as fresh, xr.open_dataset(other) as aged, netCDF4.Dataset(other) as plain:
            (name,) = fresh.data_vars
            assert plain.data_model == "NETCDF3_64BIT_OFFSET"
            assert plain[name].dtype == np.int16
            assert plain["time"].dtype == np.int32
            assert plain["time"].units == "hours since 1900-01-01 00:00:00.0"
            assert np.array_equal(fresh["valid_time"].values, aged["time"].values)
            values = aged[name]
            if layout == "old_expver":
                assert values.dims[1] == "expver"
                assert aged["expver"].values.tolist() == [1, 5]
                final, late = (values.sel(expver=version) for version in (1, 5))
                assert final.isnull().all(dim=final.dims[1:]).sum() == 10
                assert late.isnull().all(dim=late.dims[1:]).sum() == 21
                values = final.fillna(late)
            wanted = fresh[name].values
            wanted = wanted[:, ::-1] if name == "z" else wanted.reshape(values.shape)
            # Half a packing step, and float32 rounding of the result.
            tolerance = plain[name].scale_factor * 0.51 + 2e-7 * np.nanmax(np.abs(wanted))
            np.testing.assert_allclose(values.values, wanted, atol=tolerance)


def test_old_layouts_look_like_the_real_file(tmp_path: Path) -> None:
    real = SAMPLES / "old_cds__era5_japan_msl_monthly_2018_2021_int16.nc"
    if not real.exists():
        pytest.skip(f"needs {real}")
    (made,) = write_world(World(days=5, layout="old"), tmp_path).files
    ours, theirs = shape_of(made), shape_of(real)
    assert ours["dims"] == theirs["dims"]
    for name, (dtype, dims, attributes) in theirs["variables"].items():  # type: ignore[attr-defined]
        assert ours["variables"][name][:2] == (dtype, dims)  # type: ignore[index]
        assert {a for a, _ in attributes} == {a for a, _ in ours["variables"][name][2]}  # type: ignore[index]


def test_a_zip_under_the_name_of_a_netcdf_file(tmp_path: Path) -> None:
    (made,) = write_world(World(days=5, layout="zip"), tmp_path / "zip").files
    (plain,) = write_world(World(days=5), tmp_path / "cds").files
    with ZipFile(made) as archive:
        assert archive.namelist() == ["data_stream-oper_stepType-instant.nc"]
        assert archive.read(archive.namelist()[0]) == plain.read_bytes()


# --- faults ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """One file of January and its untouched copy ``before.nc_``."""
    (path,) = write_world(World(days=31, groups=("msl",)), tmp_path).files
    path.with_suffix(".nc_").write_bytes(path.read_bytes())
    return path


def reopened(path: Path) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the untouched and the spoiled data set, in memory."""
    return xr.load_dataset(path.with_suffix(".nc_"), engine="netcdf4"), xr.load_dataset(path, engine="netcdf4")


def test_missing_days(clean: Path) -> None:
    before, after = reopened(plant("missing_days", clean))
    gone = sorted(set(before["valid_time"].values) - set(after["valid_time"].values))
    assert len(gone) == 2
    assert gone[1] - gone[0] == np.timedelta64(1, "D")
    assert before["valid_time"].values[0] < gone[0] < gone[1] < before["valid_time"].values[-1]
    xr.testing.assert_equal(before["msl"].sel(valid_time=after["valid_time"]), after["msl"])


def test_duplicate_times(clean: Path) -> None:
    before, after = reopened(plant("duplicate_times", clean))
    assert after.sizes["valid_time"] == before.sizes["valid_time"] + 1
    assert np.unique(after["valid_time"]).tolist() == before["valid_time"].values.tolist()
    assert (np.diff(after["valid_time"].values).astype(int) >= 0).all()


def test_truncated_file(clean: Path) -> None:
    size = clean.stat().st_size
    plant("truncated_file", clean)
    assert 0 < clean.stat().st_size < size
    with pytest.raises(OSError, match=r"HDF|NetCDF"):
        netCDF4.Dataset(clean)


@pytest.mark.parametrize(("fault", "bad"), [("nan", np.isnan), ("inf", np.isinf)])
def test_bad_number(clean: Path, fault: str, bad: Callable[[Array], Array]) -> None:
    before, after = reopened(plant(fault, clean))
    assert bad(after["msl"].values).sum() == 1
    assert (before["msl"].values != after["msl"].values).sum() == 1


def test_wrong_units(clean: Path) -> None:
    before, after = reopened(plant("wrong_units", clean))
    assert after["msl"].attrs["units"] == after["msl"].attrs["GRIB_units"] == "hPa"
    np.testing.assert_allclose(after["msl"] * 100, before["msl"], rtol=1e-6)  # float32


def test_mislabelled_units(clean: Path) -> None:
    _, after = reopened(plant("mislabelled_units", clean))
    assert after["msl"].attrs["units"] == "Pa"
    assert float(after["msl"].max()) < 1100


def test_missing_units(clean: Path) -> None:
    before, after = reopened(plant("missing_units", clean))
    assert "units" in before["msl"].attrs
    assert not {"units", "GRIB_units"} & set(after["msl"].attrs)


def test_flipped_latitude(clean: Path) -> None:
    before, after = reopened(plant("flipped_latitude", clean))
    assert (np.diff(after["latitude"]) > 0).all()
    assert after["latitude"].attrs["stored_direction"] == "increasing"
    xr.testing.assert_equal(before["msl"], after["msl"].sortby("latitude", ascending=False))


def test_faults_strike_one_file_of_a_folder_and_every_group(tmp_path: Path) -> None:
    raw = write_world(World(days=90, groups=("z_500_1000", "sst")), tmp_path)
    before = checksums(tmp_path)
    for fault in FAULTS:
        path = plant(fault, raw)
        after = checksums(tmp_path)
        assert [name for name in after if after[name] != before[name]] == [path.name], fault
        write_world(World(days=90, groups=("z_500_1000", "sst")), tmp_path)
        assert checksums(tmp_path) == before


# --- wrong use -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": ("mls",)}, "did you mean 'msl'"),
        ({"groups": ()}, "1 group"),
        ({"types": ("7",)}, "World.types: unknown name '7'"),
        ({"per": "week"}, "month, year"),
        ({"layout": "new"}, "cds, grib, old, old_expver, zip"),
        ({"days": 0}, "≥ 1 day"),
        ({"lat_points": 1}, "≥ 2 × 2 points"),
    ],
)
def test_a_wrong_world_is_an_input_error(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        World(**settings)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_wrong_fault_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"flipped_latitude.*truncated_file"):
        plant("nane", tmp_path)
    with pytest.raises(InputError, match=r"no .nc file"):
        plant("nan", tmp_path)
    raw = write_world(World(days=3), tmp_path)
    with pytest.raises(InputError, match="at least 4"):
        plant("nan", raw)
    old = write_world(World(days=9, layout="old"), tmp_path / "old")
    with pytest.raises(InputError, match="layout"):
        plant("nan", old)
