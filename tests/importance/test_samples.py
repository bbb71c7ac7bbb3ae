"""Labels, what a sample may know of its row, and folds with gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import InputError
from pipeline.importance.folds import make_folds
from pipeline.importance.labels import row_classes
from pipeline.importance.null import block_length, shuffled
from pipeline.importance.samples import load_samples
from pipeline.importance.series import read_series
from tests.importance.made_up_series import settings, write_bars, write_truth

RULE = {"column": "", "rule": {"column": "close", "horizon": 3, "dead_band": 0.004}}
BARS = {
    "data": {"files": ["bars.csv"]},
    "labels": RULE,
    "features": {"raw": ["close"], "window": 4, "indicators": {"sma": {"periods": [6]}}},
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_truth(tmp_path / "truth.csv")
    write_bars(tmp_path / "bars.csv")
    return tmp_path


def test_the_rule_looks_ahead_and_the_inputs_do_not(home: Path) -> None:
    samples, _ = load_samples(settings(**BARS), home)
    close = read_series(settings(**BARS), home)[0].columns["close"]
    assert samples.classes == ("down", "flat", "up")
    ahead = np.log(close[3:] / close[:-3])
    expected = np.where(ahead > 0.004, 2, np.where(ahead < -0.004, 0, 1))
    np.testing.assert_array_equal(samples.y, expected)
    np.testing.assert_array_equal(samples.row, np.arange(397))
    last = samples.inputs.index("close.last")
    np.testing.assert_array_equal(samples.x[:, last], close[:397])


def test_nothing_from_a_time_on_is_looked_at(home: Path) -> None:
    """A return over 3 rows that ends in row 99 is the last that needs nothing of row 100."""
    until = {**BARS, "data": {"files": ["bars.csv"], "until": "2024-01-05 04:00"}}
    samples, tables = load_samples(settings(**until), home)
    assert samples.row[-1] == 96
    assert len(tables[0].time) == 400
    with pytest.raises(InputError, match=r"data\.until: 'soon'"):
        load_samples(settings(**{**BARS, "data": {"files": ["bars.csv"], "until": "soon"}}), home)


def test_without_a_dead_band_there_is_no_flat(home: Path) -> None:
    config = settings(**{**BARS, "labels": {"column": "", "rule": {"horizon": 1}}})
    assert set(np.unique(row_classes(config, home, read_series(config, home))[0])) == {"", "down", "up"}


def test_a_row_that_determines_its_label_is_not_known(home: Path) -> None:
    """``answer`` is the class of its row: with the default offset −1 a sample sees that of the row before."""
    config = settings(features={"raw": ["answer"]})
    samples, tables = load_samples(config, home)
    answer = tables[0].values[:, 0]
    np.testing.assert_array_equal(samples.x[:, 0], answer[samples.row - 1])
    leak, _ = load_samples(settings(features={"raw": ["answer"]}, labels={"offset": 0}), home)
    np.testing.assert_array_equal(leak.x[:, 0], answer[leak.row])
    with pytest.raises(ValueError, match="less than or equal to 0"):
        settings(labels={"offset": 1})


def test_labels_of_days_of_a_list_and_of_images(home: Path) -> None:
    days = [f"2024-02-{day:02d}" for day in range(1, 29)]
    (home / "daily.csv").write_text(
        "date,x\n" + "".join(f"{day} 12:00,{number}\n" for number, day in enumerate(days)), encoding="utf-8"
    )
    (home / "labels.csv").write_text(
        "date,label\n" + "".join(f"{day},{'AB'[number % 2]}\n" for number, day in enumerate(days)), encoding="utf-8"
    )
    for number, day in enumerate(days[:10]):
        path = home / "images" / "train" / "AB"[number % 2] / f"daily_1d_{day.replace('-', '')}_1200_label_0.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    base = {"data": {"files": ["daily.csv"]}, "features": {"raw": ["x"]}}
    by_file = settings(**base, labels={"column": "", "file": "labels.csv"})
    assert "".join(row_classes(by_file, home, read_series(by_file, home))[0]) == "AB" * 14
    by_images = settings(**base, labels={"column": "", "images": ["images"]})
    assert list(row_classes(by_images, home, read_series(by_images, home))[0]) == ["A", "B"] * 5 + [""] * 18
    hourly = settings(labels={"column": "", "file": "labels.csv"})
    with pytest.raises(InputError, match="dates without a clock, but truth has several rows a day"):
        row_classes(hourly, home, read_series(hourly, home))


def test_nothing_judged_shares_a_row_with_what_was_trained_on(home: Path) -> None:
    """Over all folds and the test: rows of a trained sample, its label's included, end before those of a judged one."""
    config = settings(**BARS)
    samples, _ = load_samples(config, home)
    folds = make_folds(config, samples)
    assert (folds.purge, folds.embargo, samples.span) == (3, 8, 9)
    judged = np.concatenate([fold.judged for fold in (*folds.walk, folds.test)])
    assert len(np.unique(judged)) == len(judged)
    assert folds.test.judged[-1] == len(samples.y) - 1
    for fold in (*folds.walk, folds.test):
        assert len(fold.train) > 50
        trained_until = samples.row[fold.train].max() + config.labels.horizon
        known_from = samples.row[fold.judged].min() - (samples.span - 1)
        assert trained_until < known_from
        # No row is given away either: one more would touch.
        assert trained_until + 1 == known_from


def test_the_gap_counts_rows_where_labels_are_sparse_and_reaches_back_from_the_offset(home: Path) -> None:
    config = settings(labels={"classes": ["low", "high"], "offset": -5}, features={"window": 4})
    samples, _ = load_samples(config, home)
    assert samples.classes == ("low", "high")
    folds = make_folds(config, samples)
    assert folds.embargo == 3 + 5
    for fold in (*folds.walk, folds.test):
        assert samples.row[fold.train].max() < samples.row[fold.judged].min() - 8
    none = make_folds(settings(validation={"splits": 3, "purge": 0, "embargo": 0}), samples)
    assert none.walk[0].train[-1] + 1 == none.walk[0].judged[0]


def test_several_series_are_parted_at_one_moment(home: Path) -> None:
    write_bars(home / "eurusd_1h.csv", 300, 1)
    write_bars(home / "usdjpy_1h.csv", 250, 2)
    config = settings(**{**BARS, "data": {"files": ["*_1h.csv"]}})
    samples, tables = load_samples(config, home)
    assert samples.series_names == ("eurusd", "usdjpy") == tuple(table.name for table in tables)
    assert (np.diff(samples.time) >= 0).all()
    folds = make_folds(config, samples)
    for fold in (*folds.walk, folds.test):
        for series in np.unique(samples.series[fold.judged]):
            trained = samples.row[fold.train][samples.series[fold.train] == series]
            judged = samples.row[fold.judged][samples.series[fold.judged] == series]
            assert trained.max() < judged.min() - 11
        assert samples.time[fold.train].max() < samples.time[fold.judged].min()


def test_timeframes_of_a_data_set_are_series_of_their_own(home: Path) -> None:
    write_bars(home / "eurusd_1h.csv", 60, 1)
    write_bars(home / "eurusd_4h.csv", 60, 2)
    config = settings(**{**BARS, "data": {"files": ["eurusd_*.csv"]}})
    assert [one.name for one in read_series(config, home)] == ["eurusd_1h", "eurusd_4h"]
    for frame, name in (("1h", "up"), ("4h", "down")):
        path = home / "images" / name / f"eurusd_{frame}_20240101_0500_label_0.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    by_images = settings(
        **{**BARS, "data": {"files": ["eurusd_*.csv"]}, "labels": {"column": "", "images": ["images"]}}
    )
    found = row_classes(by_images, home, read_series(by_images, home))
    assert [texts[5] for texts in found] == ["up", "down"]


def test_na_is_a_label_and_an_empty_cell_is_none(home: Path) -> None:
    path = home / "truth.csv"
    path.write_text("time,x,label\n" + "".join(f"2024-01-{day:02d},1,{'NA' if day % 2 else ''}\n" for day in (1, 2, 3)))
    found = row_classes(settings(features={"raw": ["x"]}), home, read_series(settings(features={"raw": ["x"]}), home))
    assert found[0].tolist() == ["NA", "", "NA"]


def test_shuffles_keep_runs_and_lose_the_order() -> None:
    y = np.repeat(np.arange(40) % 3, 10)
    series = np.repeat([0, 1], 200)
    mixed = shuffled(y, series, 20, np.random.default_rng(0))
    for number in (0, 1):
        np.testing.assert_array_equal(np.bincount(mixed[series == number]), np.bincount(y[series == number]))
    runs = 1 + (np.diff(y) != 0).sum()
    # A cut can split a run in two: at most one more for each of the 2 × 11 block borders.
    assert runs / 2 <= 1 + (np.diff(mixed) != 0).sum() <= runs + 22
    assert (mixed == y).mean() < 0.7


def test_blocks_of_the_null_must_be_several(home: Path) -> None:
    samples, _ = load_samples(settings(), home)
    folds = make_folds(settings(), samples)
    assert block_length(settings(), samples, folds) == round(0.02 * folds.development)
    with pytest.raises(InputError, match=r"null\.block: blocks of 100 samples in 399"):
        block_length(settings(null={"block": 100}), samples, folds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {"column": "lable"}}, r"labels.column: lable not in .*did you mean 'label'"),
        ({"features": {"raw": ["signl"]}}, r"features.raw: signl not in .*did you mean 'signal'"),
        ({"features": {"indicators": {"rsi": {}}}}, r"features.close: no column 'close'"),
        ({"labels": {"classes": ["low", "top"]}}, r"labels.classes: top does not occur; the labels are high, low, mid"),
        ({"labels": {"classes": ["low"]}}, r"labels: 1 class \(low\)"),
        ({"data": {"files": ["absent.csv"]}}, r"absent.csv: no such file"),
        ({"data": {"files": ["absent*.csv"]}}, r"no file matches"),
        ({"validation": {"splits": 49}}, r"499 rows have a class and 49 folds are asked for"),
        ({"validation": {"splits": 3, "embargo": 200}}, r"fold 1 has 0 samples of 0 classes to train on"),
    ],
)
def test_what_cannot_be_is_said(home: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config = settings(**change)
        make_folds(config, load_samples(config, home)[0])


def test_wrong_cells_and_repeated_times_are_named(home: Path) -> None:
    path = home / "truth.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[-1]]) + "\n")
    assert len(read_series(settings(), home)[0].time) == 500
    path.write_text("\n".join([*lines, "2024-01-21 19:00,1,1,1,1,1,1,1,low"]) + "\n")
    with pytest.raises(InputError, match="two rows of 2024-01-21T19:00:00Z with different values"):
        read_series(settings(), home)
    path.write_text("\n".join([*lines, "2024-03-01 00:00,x,1,1,1,1,1,1,low"]) + "\n")
    with pytest.raises(InputError, match=r"truth.csv:502: signal is 'x', not a finite number"):
        read_series(settings(), home)
    path.write_text("\n".join([*lines, "soon,1,1,1,1,1,1,1,low"]) + "\n")
    with pytest.raises(InputError, match=r"truth.csv:502: time 'soon'"):
        read_series(settings(), home)


def test_one_source_of_labels() -> None:
    for labels in ({"column": ""}, {"column": "label", "rule": {}}, {"column": "", "rule": {}, "file": "x.csv"}):
        with pytest.raises(ValueError, match="give one of column"):
            settings(labels=labels)
