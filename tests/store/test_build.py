import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.contract.store import Store
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.store.splits import years_of
from pipeline.store.stage import build_store
from tests.store.conftest import Build, World, config, make_labels
from tests.store.derived_files import LATITUDE, LONGITUDE, days, weather, write_derived

# Standardised values are of order 1 and rounded to float32: 2^-24 relative, up to 5 sigma.
FLOAT32 = {"atol": 1e-6, "rtol": 0}


def standardised(world: World, store: Store, name: str) -> np.ndarray:
    """Float64, from the whole field at once: the same days, the default fold's training years."""
    values = world.fields[name][world.labels != ""].astype(np.float64)
    training = values[store.fold().train]
    return (values - np.nanmean(training)) / np.nanstd(training)


def grid(store: Store) -> np.ndarray:
    return np.load(store.folder / "grid.npy")


def test_values_are_standardised_by_the_training_days(world: World, build: Build) -> None:
    store = build()
    assert grid(store).shape == (store.spec.samples, 3, 9, 11)
    for place, name in enumerate(("msl", "lap_msl", "sst")):
        expected = standardised(world, store, name)
        assert np.allclose(grid(store)[:, place], expected, equal_nan=True, **FLOAT32), name
        training = grid(store)[store.fold().train, place].astype(np.float64)
        assert abs(np.nanmean(training)) < 1e-5
        assert np.nanstd(training) == pytest.approx(1, abs=1e-5)
    spec = store.spec.inputs["grid"]
    assert (spec.channels, spec.missing, spec.masked) == (("msl", "lap_msl", "sst"), ("sst",), False)
    assert spec.units == ("hPa", "hPa m-2", "K")
    assert store.scale["default"]["grid"]["mean"][0] == pytest.approx(1013, abs=1)
    assert store.scale["default"]["grid"]["count"][0] == 99 * len(store.fold().train)
    assert store.scale["default"]["grid"]["count"][2] == (99 - 12) * len(store.fold().train)


def test_a_channel_with_a_spread_of_5e_9_is_alive(build: Build) -> None:
    store = build(slp_to_hpa=False, channels=["lap_msl"])
    assert store.scale["default"]["grid"]["std"][0] == pytest.approx(5e-9, rel=0.01)
    assert grid(store).std() == pytest.approx(1, abs=0.01)


def test_float16_keeps_the_values_to_its_precision(world: World, build: Build) -> None:
    store = build(dtype="float16")
    assert grid(store).dtype == np.float16
    expected = standardised(world, store, "msl")
    assert np.allclose(grid(store)[:, 0], expected, rtol=2**-11, atol=2**-24)


def test_index_targets_and_scalars_belong_to_the_same_day(world: World, build: Build) -> None:
    store = build()
    dates = store.column("date")
    with_label = world.labels != ""
    assert dates.tolist() == world.dates[with_label].astype(str).tolist()
    assert store.column("id").tolist() == dates.tolist()
    assert store.column("time")[0] == f"{dates[0]}T00:00:00Z"
    assert store.column("label").tolist() == world.labels[with_label].tolist()
    assert store.column("group").tolist() == years_of(world.dates[with_label]).astype(str).tolist()
    classes = store.spec.target.classes
    assert classes == ("1", "2A", "NA")
    for row in range(0, store.spec.samples, 97):
        types = set(store.column("label")[row].replace("+", "-").split("-"))
        assert {name for name, one in zip(classes, store.target[row], strict=True) if one} == types
    assert set(store.column("kind")) == {"single", "composite", "transition"}
    angle = 2 * np.pi * (world.dates[with_label].astype(int) % 365) / 365
    train = store.fold().train
    scalars = np.load(store.folder / "scalars.npy")
    expected = (np.cos(angle) - np.cos(angle)[train].mean()) / np.cos(angle)[train].std()
    assert np.allclose(scalars[:, 0], expected, **FLOAT32)
    assert store.spec.inputs["scalars"].channels == ("f1_season", "f1_season_sin")


def test_channels_region_and_blocks_are_chosen(world: World, build: Build) -> None:
    region = {"south": 25, "north": 50, "west": 119, "east": 151}
    store = build(channels=["sst", "msl"], scalars=[], region=region, coarsen=2)
    assert store.spec.inputs["grid"].shape == (2, 3, 4)
    assert list(store.spec.inputs) == ["grid"]
    assert store.spec.latitude == (47.5, 37.5, 27.5)
    assert store.spec.longitude == (121, 129, 137, 145)
    sst = world.fields["sst"][world.labels != ""].astype(np.float64)[:, 1:7, 1:9]
    blocks = sst.reshape(-1, 3, 2, 4, 2)
    valid = ~np.isnan(blocks)
    with np.errstate(invalid="ignore"):
        means = np.where(valid, blocks, 0).sum(axis=(2, 4)) / valid.sum(axis=(2, 4))
    assert np.isnan(means).any()
    train = means[store.fold().train]
    expected = (means - np.nanmean(train)) / np.nanstd(train)
    assert np.allclose(grid(store)[:, 0], expected, equal_nan=True, **FLOAT32)


def test_without_hpa_the_units_stay(build: Build) -> None:
    assert build(slp_to_hpa=False).spec.inputs["grid"].units == ("Pa", "Pa m-2", "K")


@pytest.mark.parametrize("fold", ["2001", "2003"])
def test_the_affine_of_another_fold_is_its_own_standardisation(world: World, build: Build, fold: str) -> None:
    split = {"train": [2001, 2003], "val": [2002], "leave_one_year_out": True}
    store = build(split=split)
    train = store.fold(fold).train
    values = {name: field[world.labels != ""].astype(np.float64) for name, field in world.fields.items()}
    affine = store.affine("grid", fold)
    assert not affine.identity
    assert store.affine("grid", "default").identity
    shape = (1, -1, 1, 1)
    mapped = grid(store) * affine.factor.reshape(shape) + affine.offset.reshape(shape)
    for place, field in enumerate(values.values()):
        direct = (field - np.nanmean(field[train])) / np.nanstd(field[train])
        assert np.allclose(mapped[:, place], direct, atol=1e-5, rtol=0, equal_nan=True)


def test_statistics_of_a_full_size_channel_end_to_end(tmp_path: Path) -> None:
    """700 maps of 161 × 161 are 18.1 million values: more than 2^24, where float32 sums stop growing."""
    dates = days("2001-01-01", "2002-12-31")[:700]
    latitude, longitude = np.linspace(55, 15, 161), np.linspace(115, 155, 161)

    def pressure(of: np.ndarray, *_: np.ndarray) -> dict[str, np.ndarray]:
        generator = np.random.default_rng(int(of[0].astype(int)))
        return {"msl": 101_300 + 900 * generator.standard_normal((len(of), 161, 161), dtype=np.float32)}

    labels = np.where(np.arange(700) % 3, "A", "B")
    write_derived(tmp_path / "derived", dates, labels, pressure, latitude, longitude, compress=False)
    split = {"train": [2001], "val": [2002], "gap_days": 0}
    build_store(config(split=split), tmp_path / "derived", tmp_path / "store", "made_up", Interrupt())
    store = Store(tmp_path / "store")
    months = [pressure(dates[dates.astype("datetime64[M]") == m])["msl"] for m in np.unique(dates.astype("M8[M]"))]
    train = np.concatenate(months)[:365].astype(np.float64) / 100
    found = store.scale["default"]["grid"]
    assert found["mean"][0] == pytest.approx(train.mean(), rel=1e-9)
    assert found["std"][0] == pytest.approx(train.std(), rel=1e-9)
    assert grid(store)[:365].mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)


def test_a_built_store_is_not_built_again(world: World, build: Build) -> None:
    store = build()
    before = (store.folder / "grid.npy").stat().st_mtime_ns
    assert (build().folder / "grid.npy").stat().st_mtime_ns == before


def test_another_store_in_the_same_place_is_refused(build: Build) -> None:
    build()
    with pytest.raises(InputError, match=r"holds store .* wanted"):
        build(channels=["msl"])


def test_a_store_that_lost_a_byte_is_refused(build: Build) -> None:
    store = build()
    path = store.folder / "grid.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"grid.npy: \d+ bytes, expected"):
        build()


def test_paths_and_times_stay_out_of_the_store(world: World, build: Build, tmp_path: Path) -> None:
    text = (build().folder / "store.json").read_text()
    assert str(tmp_path) not in text
    assert str(world.folder) not in text
    assert json.loads(text)["upstream"]["derived"] == world.spec.version


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": ["mls"]}, r"store.channels: mls not in the derived data; did you mean 'msl'\? Available: msl, l"),
        ({"channels": ["f1_season"]}, r"f1_season not in the derived data \(it is a scalar\);"),
        ({"scalars": ["f2"]}, "store.scalars: f2 not in the derived data"),
        ({"region": {"south": -20, "north": -10, "west": 0, "east": 10}}, "store.region: no grid point inside"),
        ({"coarsen": 10}, "store.coarsen"),
        ({"unlabelled": "error"}, r"110 of 1095 days have no label \(2001-01-01, "),
        ({"target": {"classes": ["1", "2A"]}}, r"unknown base type 'NA' \(2001-01-0"),
        ({"split": {"train": [2001], "val": [2009]}}, "store.split.val: no labelled day in 2009"),
        ({"split": {"train": [2001], "val": [2002], "gap_days": 400}}, "store.split.train: no day is left"),
    ],
)
def test_a_wrong_setting_is_refused_and_leaves_nothing(
    build: Build, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        build(**settings)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def derived_with(folder: Path, **fields: np.ndarray | float) -> Path:
    """Write four months of derived files where the given fields replace the usual ones on the last day of a month."""
    dates = days("2001-12-01", "2002-03-31")

    def changed(of: np.ndarray, *grid: np.ndarray) -> dict[str, np.ndarray]:
        values = weather(of, *grid)
        for name, value in fields.items():
            values[name] = np.broadcast_to(value, values["msl"].shape) if np.ndim(value) == 0 else values[name].copy()
            if np.ndim(value):
                values[name][-1, 2, 3:5] = value
        return values

    write_derived(folder, dates, np.where(np.arange(len(dates)) % 3, "A", "B"), changed)
    return folder


NAN, INF = np.array([np.nan, np.nan]), np.array([np.inf, 1.0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"msl": NAN}, r"2001-12.nc: msl on 2001-12-31: 0 infinite and 2 missing \(NaN\) of 99 cells"),
        ({"lap_msl": INF}, r"2001-12.nc: lap_msl on 2001-12-31: 1 infinite and 0 missing"),
        ({"sst": INF}, r"2001-12.nc: sst on 2001-12-31: 1 infinite and 11 missing"),
        ({"lap_msl": 1013.25}, r"lap_msl: constant in the training days of the store \(mean 10.1325"),
        ({"sst": np.nan}, "sst: no valid value in the training days"),
    ],
)
def test_wrong_values_are_refused_and_leave_nothing(
    build: Build, tmp_path: Path, fields: dict[str, np.ndarray], message: str
) -> None:
    derived = derived_with(tmp_path / "derived", **fields)
    with pytest.raises(InputError, match=message):
        build(derived, split={"train": [2001], "val": [2002]})
    assert [path.name for path in tmp_path.iterdir()] == ["derived"]


def test_pressure_in_other_units_is_refused(build: Build, tmp_path: Path) -> None:
    dates = days("2001-12-01", "2002-01-31")
    write_derived(tmp_path / "derived", dates, make_labels(dates), units={"msl": "K"})
    with pytest.raises(InputError, match="msl: has units 'K', expected Pa or hPa"):
        build(tmp_path / "derived", split={"train": [2001], "val": [2002]})


def test_no_label_at_all_is_an_error(build: Build, tmp_path: Path) -> None:
    dates = days("2001-12-01", "2002-01-31")
    write_derived(tmp_path / "derived", dates, [" "] * len(dates))
    with pytest.raises(InputError, match=r"no day has one; set derive\.labels\.files"):
        build(tmp_path / "derived", split={"train": [2001], "val": [2002]})


@pytest.mark.parametrize("keep", [0.3, 0.98])
def test_a_broken_derived_file_is_refused(build: Build, tmp_path: Path, keep: float) -> None:
    """The manifest knows the broken size here, so that the HDF5 library is what stumbles."""
    derived = derived_with(tmp_path / "derived")
    path = derived / "2002-02.nc"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match=r"2002-02.nc: \d+ bytes, expected"):
        build(derived, split={"train": [2001], "val": [2002]})
    manifest = json.loads((derived / "manifest.json").read_text())
    manifest["pieces"][2]["bytes"] = path.stat().st_size
    (derived / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"2002-02\.nc: cannot be read"):
        build(derived, split={"train": [2001], "val": [2002]})


def test_a_field_on_another_grid_is_refused(build: Build, tmp_path: Path) -> None:
    derived = derived_with(tmp_path / "derived")
    manifest = json.loads((derived / "manifest.json").read_text())
    manifest["latitude"] = manifest["latitude"][:-1]
    (derived / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="no float32 field 'msl' on the grid of the manifest"):
        build(derived, split={"train": [2001], "val": [2002]})


def test_float16_refuses_what_it_cannot_hold(build: Build, tmp_path: Path) -> None:
    dates = days("2001-12-01", "2002-01-31")

    def spiky(of: np.ndarray, *grid: np.ndarray) -> dict[str, np.ndarray]:
        values = weather(of, *grid)
        values["msl"][of == np.datetime64("2002-01-21"), 0, 0] = 1e12
        return values

    write_derived(tmp_path / "derived", dates, make_labels(dates), spiky)
    split = {"train": [2001], "val": [2002]}
    with pytest.raises(InputError, match=r"msl: values beyond the range of float16; set store\.dtype: float32"):
        build(tmp_path / "derived", split=split, dtype="float16")
    assert np.nanmax(grid(build(tmp_path / "derived", split=split))) > 65504


def test_several_hours_a_day_stay_in_one_split_and_have_their_own_ids(tmp_path: Path) -> None:
    hours = np.arange(np.datetime64("2001-12-01T00", "h"), np.datetime64("2002-01-31T00", "h"), 12)
    write_derived(tmp_path / "derived", hours, np.where(np.arange(len(hours)) % 3, "A", "B"))
    split = {"train": [2001], "val": [2002]}
    build_store(config(split=split), tmp_path / "derived", tmp_path / "store", "made_up", Interrupt())
    store = Store(tmp_path / "store")
    assert store.column("id")[1] == "2001-12-01T12:00:00Z"
    assert len(set(store.column("id"))) == len(hours)
    marks, dates = store.column("default"), store.column("date")
    assert all(len(set(marks[dates == date])) == 1 for date in set(dates))


def test_the_grid_of_the_tests_is_the_one_of_the_contract() -> None:
    assert (np.diff(LATITUDE) < 0).all()
    assert (np.diff(LONGITUDE) > 0).all()
