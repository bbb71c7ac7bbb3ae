"""Scores of parts of a split are the scores of that part alone, and their intervals those of its days."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from pipeline.contract.predictions import Predictions
from pipeline.evaluate.bootstrap import draw, interval
from pipeline.evaluate.subscores import season_of, subscores

DAYS = np.arange("2001-01-01", "2003-01-01", dtype="datetime64[D]")


def world(kinds: np.ndarray, classes: int = 7, dated: bool = True, rarest: float = 0.03):
    rng = np.random.default_rng(0)
    target = (rng.random((len(DAYS), classes)) < np.linspace(rarest, 0.4, classes)).astype(np.uint8)
    score = target + rng.normal(size=target.shape)
    dates = DAYS.astype(str) if dated else np.full(len(DAYS), "")
    names = np.array([f"c{k}" for k in range(classes)])
    logits = score.astype(np.float32)
    found = Predictions(logits, target, DAYS.astype(str), dates, kinds, names, "multi_label", "test", "0")
    return found, score > 0.6, score


KINDS = np.random.default_rng(1).choice(["single", "composite", "transition"], len(DAYS))


def test_seasons_are_meteorological():
    days = np.array(
        ["2001-12-01", "2001-02-28", "2001-03-01", "2001-06-01", "2001-08-31", "2001-11-30"], "datetime64[D]"
    )
    assert season_of(days).tolist() == ["DJF", "DJF", "MAM", "JJA", "JJA", "SON"]


def test_parts_are_scored_by_themselves():
    found, chosen, score = world(KINDS)
    trained = np.array([50, 10, 400, 90, 300, 20, 60])
    parts = subscores(found, chosen, score, trained, None, 0.95)
    assert {by: list(of) for by, of in parts.items()} == {
        "season": ["DJF", "MAM", "JJA", "SON"],
        "kind": ["composite", "single", "transition"],
        "year": ["2001", "2002"],
        "class_size": ["rarest", "middle", "most frequent"],
    }
    rows = KINDS == "composite"
    mine, target = parts["kind"]["composite"], found.target[rows]
    assert mine["days"] == rows.sum()
    assert mine["positives"] == target.sum()
    assert mine["macro_f1"] == pytest.approx(f1_score(target, chosen[rows], average="macro"))
    assert mine["micro_f1"] == pytest.approx(f1_score(target, chosen[rows], average="micro"))
    assert mine["map"] == pytest.approx(average_precision_score(target, score[rows], average="macro"))
    rare = parts["class_size"]["rarest"]
    assert list(rare["class_names"]) == ["c1", "c5", "c0"]
    assert rare["in_training"] == [10, 50]
    assert rare["macro_f1"] == pytest.approx(
        f1_score(found.target[:, [0, 1, 5]], chosen[:, [0, 1, 5]], average="macro")
    )
    assert sum(part["days"] for part in parts["season"].values()) == len(DAYS)
    assert "intervals" not in mine


def test_intervals_of_a_part_come_from_its_drawn_days():
    """Repeat the days of each resample literally, keep those of the part, and score them."""
    found, chosen, score = world(KINDS, classes=2, rarest=0.2)
    draws = draw(DAYS, 7, 40, seed=1)
    assert draws is not None
    part = subscores(found, chosen, score, np.array([1, 2]), draws, 0.9)["season"]["JJA"]
    inside = season_of(DAYS) == "JJA"
    literal = {"macro_f1": [], "map": []}
    for times in draws.times.astype(int):
        rows = np.repeat(np.arange(len(DAYS)), times[draws.block])
        rows = rows[inside[rows]]
        assert found.target[rows].any(axis=0).all()
        literal["macro_f1"].append(f1_score(found.target[rows], chosen[rows], average="macro"))
        literal["map"].append(average_precision_score(found.target[rows], score[rows], average="macro"))
    for key, values in literal.items():
        assert part["intervals"][key] == pytest.approx(interval(np.array(values), 0.9))


@pytest.mark.parametrize(("classes", "groups"), [(1, ["all"]), (2, ["rarer half", "more frequent half"])])
def test_few_classes_make_fewer_groups(classes: int, groups: list[str]):
    found, chosen, score = world(np.full(len(DAYS), "single"), classes, dated=False)
    parts = subscores(found, chosen, score, np.arange(classes), None, 0.95)
    assert list(parts["class_size"]) == groups
    assert "season" not in parts
    assert "year" not in parts


def test_a_part_of_one_block_has_no_interval():
    kinds = np.full(len(DAYS), "single", dtype="<U10")
    kinds[:5] = "transition"
    found, chosen, score = world(kinds)
    parts = subscores(found, chosen, score, np.arange(7), draw(DAYS, 7, 10, seed=0), 0.95)
    assert "intervals" not in parts["kind"]["transition"]
    assert "intervals" in parts["kind"]["single"]
