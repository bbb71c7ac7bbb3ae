from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.contract.store import Affine, Store
from pipeline.synthetic.store import blobs, write_store
from pipeline.train.batches import (
    Resident,
    Streamed,
    Wanted,
    epoch_order,
    open_source,
    rare_class_weights,
    split_bytes,
)
from tests.train.stores import marked_images, write_images


def wanted(*names: str, fold: str = "default", channels_last: bool = False) -> Wanted:
    return Wanted(names, fold, torch.device("cpu"), channels_last)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    grid, target = blobs(50, 3, 9, 4)
    grid[:, 1, :2] = np.nan
    scalars = np.random.default_rng(0).random((50, 2)).astype(np.float32)
    folder = write_store(tmp_path / "s", np.nan_to_num(grid), target, scalars=scalars)
    opened = Store(folder)  # which compares checksums of small files
    values = np.load(folder / "grid.npy")
    values[:, 1, :2] = np.nan
    np.save(folder / "grid.npy", values)
    opened.spec.inputs["grid"] = replace(opened.spec.inputs["grid"], missing=("grid1",), masked=True)
    return opened


def test_resident_and_streamed_give_the_same_batches(store: Store) -> None:
    rows = store.fold().train
    order = epoch_order(1, 0, len(rows), None)
    parts = [order[start : start + 7] for start in range(0, len(order), 7)]
    sources = [kind(store, wanted("grid", "scalars"), rows) for kind in (Resident, Streamed)]
    for left, right, part in zip(*(source.batches(parts) for source in sources), parts, strict=True):
        assert torch.equal(left.inputs["grid"], right.inputs["grid"])
        assert torch.equal(left.inputs["scalars"], right.inputs["scalars"])
        assert torch.equal(left.target, right.target)
        assert np.array_equal(left.target.numpy(), store.target[rows[part]])


def test_channels_last_changes_the_layout_and_no_value(store: Store) -> None:
    rows, part = store.fold().train, [np.array([3, 1, 4])]
    plain = next(iter(Resident(store, wanted("grid"), rows).batches(part))).inputs["grid"]
    for kind in (Resident, Streamed):
        last = next(iter(kind(store, wanted("grid", channels_last=True), rows).batches(part))).inputs["grid"]
        assert last.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(last, plain)


def test_missing_values_become_the_mean_and_a_mask(store: Store) -> None:
    source = Resident(store, wanted("grid"), store.fold().train)
    grid = next(iter(source.batches([np.arange(5)]))).inputs["grid"]
    assert grid.shape == (5, 4, 9, 9)
    assert bool((grid[:, 1, :2] == 0).all())
    assert bool((grid[:, 3, :2] == 0).all())
    assert bool((grid[:, 3, 2:] == 1).all())


def test_another_fold_is_an_affine_map(store: Store) -> None:
    store.scale["2001"] = {
        "grid": {"mean": [1.0, 2.0, 3.0], "std": [2.0, 3.0, 4.0]},
        "scalars": store.scale["default"]["scalars"],
    }
    assert store.affine("scalars", "2001").identity
    old = store.scale["default"]["grid"]
    physical = np.load(store.folder / "grid.npy")[:5] * np.array(old["std"])[:, None, None]
    physical += np.array(old["mean"])[:, None, None]
    expected = (physical - np.array([1, 2, 3])[:, None, None]) / np.array([2, 3, 4])[:, None, None]
    grid = next(iter(Streamed(store, wanted("grid", fold="2001"), np.arange(5)).batches([np.arange(5)]))).inputs["grid"]
    # float32 rounding of values of order 1
    np.testing.assert_allclose(grid[:, :3].numpy(), np.nan_to_num(expected), atol=1e-6)


def test_identity_affine_leaves_the_store_untouched() -> None:
    assert Affine(np.ones(2, np.float32), np.zeros(2, np.float32)).identity
    assert not Affine(np.ones(2, np.float32), np.full(2, 0.1, np.float32)).identity


def test_memory_decides_between_resident_and_streamed(store: Store) -> None:
    rows = store.fold().train
    size = split_bytes(store, ["grid"], len(rows))
    assert size == len(rows) * 4 * 9 * 9 * 4
    assert isinstance(open_source(store, wanted("grid"), rows, size / 1e9), Resident)
    assert isinstance(open_source(store, wanted("grid"), rows, size / 1e9 * 0.99), Streamed)


def test_order_is_a_function_of_seed_and_epoch() -> None:
    assert np.array_equal(epoch_order(1, 2, 99, None), epoch_order(1, 2, 99, None))
    assert not np.array_equal(epoch_order(1, 2, 99, None), epoch_order(1, 3, 99, None))
    assert sorted(epoch_order(1, 2, 99, None)) == list(range(99))


def test_weighted_order_draws_rare_classes_more_often() -> None:
    target = np.zeros((1000, 2), np.uint8)
    target[:990, 0], target[990:, 1] = 1, 1
    weights = rare_class_weights(target)
    drawn = epoch_order(0, 0, 1000, weights)
    # Both classes have the same total weight: about half of the draws go to 10 of 1000 days (sd 1.6 %).
    assert abs(np.mean(drawn >= 990) - 0.5) < 0.07


@pytest.fixture
def charts(tmp_path: Path) -> Store:
    images, label = marked_images(40, 2, 8)
    series = np.random.default_rng(0).standard_normal((40, 5, 3)).astype(np.float32)
    series[::4, :2] = np.nan
    series[1, 3, 1] = np.nan
    series[2] = np.nan
    return write_images(tmp_path / "charts", images, label, series)


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_stay_uint8(charts: Store, channels_last: bool) -> None:
    rows = charts.fold().train
    stored = np.load(charts.folder / "image.npy")
    for kind in (Resident, Streamed):
        source = kind(charts, wanted("image", channels_last=channels_last), rows)
        image = next(iter(source.batches([np.array([3, 0, 7])]))).inputs["image"]
        assert image.dtype == torch.uint8
        assert np.array_equal(image.numpy(), stored[rows[[3, 0, 7]]])
        assert image.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert Resident(charts, wanted("image"), rows)._inputs["image"].dtype == torch.uint8
    assert split_bytes(charts, ["image"], 10) == 10 * 3 * 8 * 8
    assert split_bytes(charts, ["image", "series"], 10) == 10 * (3 * 8 * 8 + 4 * 5 * 4)


def test_series_get_a_validity_channel(charts: Store) -> None:
    stored = np.load(charts.folder / "series.npy")
    for kind in (Resident, Streamed):
        source = kind(charts, wanted("series"), np.arange(40))
        series = next(iter(source.batches([np.arange(40)]))).inputs["series"].numpy()
        assert series.shape == (40, 5, 4)
        assert not np.isnan(series).any()
        assert np.array_equal(series[..., 3], (~np.isnan(stored).all(2)).astype(np.float32))
        assert np.array_equal(series[..., :3], np.nan_to_num(stored))


def test_series_of_another_fold_are_scaled_by_feature(charts: Store) -> None:
    charts.scale["2"] = {"series": {"mean": [1.0, 2.0, 3.0], "std": [2.0, 4.0, 5.0]}}
    part = [np.array([1, 3])]
    found = next(iter(Streamed(charts, wanted("series", fold="2"), np.arange(5)).batches(part))).inputs["series"]
    stored = np.load(charts.folder / "series.npy")[[1, 3]]
    expected = (stored - np.array([1, 2, 3])) / np.array([2, 4, 5])
    # Missing values are at the new fold's mean, not at the old one's; float32 rounding.
    np.testing.assert_allclose(found[..., :3].numpy(), np.nan_to_num(expected), atol=1e-6)
