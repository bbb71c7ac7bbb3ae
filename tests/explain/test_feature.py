"""Permutation importance and projections against planted truth."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.contract.predictions import load_split
from pipeline.contract.scores import average_precision, macro
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.explain.config import ExplainConfig, FeatureConfig
from pipeline.explain.permutation import columns_of, order_of, permuted_logits
from pipeline.explain.plane import neighbours, plane_of, principal
from pipeline.explain.stage import explain
from pipeline.explain.subject import Subject, open_subject
from tests.explain.conftest import Trained

SETTINGS = {"repeats": 4, "samples": 200, "groups": {"told": ["grid0", "grid1"]}, "block_days": 5}


@pytest.fixture(scope="session")
def maps(planted: Trained) -> Subject:
    return open_subject(planted.run, planted.store, planted.config, 64)


@pytest.fixture(scope="session")
def folder(planted: Trained) -> Path:
    config = ExplainConfig.model_validate({"feature": SETTINGS})
    return explain("feature", config, planted.config, planted.run, planted.store, Interrupt(), 60).folder


def test_planted_channels_come_first_and_noise_is_within_its_interval_of_nothing(folder: Path) -> None:
    report = json.loads((folder / "importance.json").read_text())
    table = {row["name"]: row for row in report["columns"]}
    assert [row["name"] for row in report["columns"]][:2] in (["told", "all of grid"], ["all of grid", "told"])
    assert {row["name"] for row in report["columns"][2:4]} == {"grid0", "grid1"}
    for name in ("grid0", "grid1"):
        assert table[name]["map"]["interval"][0] > 0.1
    for name in ("grid2", "scalars0", "scalars1", "all of scalars"):
        low, high = table[name]["map"]["interval"]
        assert low <= 0 <= high, name
        assert abs(table[name]["map"]["drop"]) < 0.02
    # Each class loses by its own channel, not by the other's.
    own = np.array([table[name]["average_precision"] for name in ("grid0", "grid1")])
    assert (np.diag(own) > 5 * np.abs(own[[0, 1], [1, 0]])).all()


def test_the_scores_are_the_runs_own(folder: Path, planted: Trained) -> None:
    report = json.loads((folder / "importance.json").read_text())
    val = load_split(planted.run, "val")
    assert report["scores"]["map"] == pytest.approx(macro(average_precision(val.target, val.logits)), abs=1e-6)
    rows = list(csv.DictReader((folder / "importance.csv").open()))
    assert [row["name"] for row in rows] == [row["name"] for row in report["columns"]]
    assert float(rows[0]["map_drop"]) == pytest.approx(report["columns"][0]["map"]["drop"], abs=1e-6)


def test_coordinates_are_told_with_split_and_labels(folder: Path) -> None:
    report = json.loads((folder / "embedding.json").read_text())
    samples = report["samples"]
    assert {len(values) for values in samples.values()} == {200}
    assert set(samples["split"]) == {"train", "val"}
    assert set(samples["labels"]) == {"", "c0", "c1", "c0+c1"}
    found = report["neighbours"]["share_with_the_class"]
    assert all(found[name] > report["neighbours"]["chance"][name] + 0.3 for name in ("c0", "c1"))
    x, has = np.array(samples["x"]), np.array(["c0" in label for label in samples["labels"]])
    y = np.array(samples["y"])
    apart = [abs(v[has].mean() - v[~has].mean()) / v.std() for v in (x, y)]
    assert max(apart) > 0.5  # standard deviations


def test_blocks_of_days_stay_together(maps: Subject) -> None:
    rows = maps.rows("val")
    config = FeatureConfig(block_days=7)
    order = order_of(maps, rows, config, 0)
    assert sorted(order) == sorted(rows)
    assert (np.diff(order) == 1).mean() > 0.75
    assert (order != rows).mean() > 0.8
    assert not np.array_equal(order, order_of(maps, rows, config, 1))
    np.testing.assert_array_equal(order, order_of(maps, rows, config, 0))
    months = maps.store.column("date").astype("datetime64[M]").astype(int) % 12
    within = order_of(maps, rows, FeatureConfig(block_days=7, within_season=True), 0)
    np.testing.assert_array_equal((months[within] + 1) % 12 // 3, (months[rows] + 1) % 12 // 3)
    assert (within != rows).any()


def test_only_the_column_comes_from_elsewhere(maps: Subject) -> None:
    rows, sources = np.array([400, 401]), np.array([10, 11])
    column = next(one for one in columns_of(maps, {}) if one.name == "grid1")
    arrays = maps.arrays(rows)
    arrays["grid"][:, 1] = maps.arrays(sources)["grid"][:, 1]
    expected = maps.explainer.logits(maps.explainer.see(arrays))
    np.testing.assert_array_equal(permuted_logits(maps, rows, column, sources), expected)


def test_images_and_features_of_series_are_columns(pictured: Trained, tmp_path: Path) -> None:
    subject = open_subject(pictured.run, pictured.store, pictured.config, 64)
    names = [column.name for column in columns_of(subject, {})]
    assert names == ["feature0", "feature1", "feature2", "image", "all of series"]
    rows = subject.rows("val")
    change = {}
    for column in columns_of(subject, {}):
        given = permuted_logits(subject, rows, None, rows)
        change[column.name] = np.abs(permuted_logits(subject, rows, column, rows[::-1]) - given).mean()
    assert change["feature1"] > 4 * max(change["feature0"], change["feature2"])
    assert change["image"] > change["feature0"]


def test_principal_components_are_those_of_the_definition() -> None:
    values = np.random.default_rng(0).standard_normal((50, 4)) * [3, 2, 1, 0.5]
    values -= values.mean(axis=0)
    components, explained = principal(values, 2)
    eigen = np.linalg.eigvalsh(values.T @ values)[::-1]
    np.testing.assert_allclose(explained, eigen[:2] / eigen.sum(), rtol=1e-9)
    np.testing.assert_allclose(np.abs(components @ components.T), np.eye(2), atol=1e-9)
    assert (components[[0, 1], np.abs(components).argmax(axis=1)] > 0).all()


@pytest.mark.slow
def test_tsne_keeps_groups_together() -> None:
    generator = np.random.default_rng(0)
    centres = np.repeat(np.eye(3) * 9, 20, axis=0)
    features = (centres + generator.standard_normal((60, 3))).astype(np.float32)
    config = FeatureConfig(projection="tsne", perplexity=10)
    points = plane_of(config, {"train": features}).points
    label = np.repeat(np.arange(3), 20)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(60) * 1e9
    assert (label[distance.argmin(axis=1)] == label).mean() > 0.95
    with pytest.raises(InputError, match="perplexity: 70 needs more samples than the 60"):
        plane_of(FeatureConfig(projection="tsne", perplexity=70), {"train": features})


def test_nearest_neighbours_by_brute_force() -> None:
    generator = np.random.default_rng(1)
    train, val = generator.standard_normal((40, 3)), generator.standard_normal((9, 3))
    target, truth = generator.random((40, 2)) < 0.5, generator.random((9, 2)) < 0.5
    found, chance = neighbours(train.astype(np.float32), val.astype(np.float32), target, truth, 5)
    scaled = [(one - train.mean(axis=0)) / train.std(axis=0) for one in (train, val)]
    nearest = np.linalg.norm(scaled[1][:, None] - scaled[0][None], axis=2).argsort(axis=1)[:, :5]
    expected = [np.mean([target[nearest[n], k].mean() for n in np.flatnonzero(truth[:, k])]) for k in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(chance, target.mean(axis=0))
