"""Predictions files: what was saved comes back, and every kind of damage is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.contract.predictions import Predictions, load_decisions, load_predictions, load_split, number
from pipeline.core.artifact import write_json
from pipeline.core.errors import InputError


def example() -> Predictions:
    days = np.array(["2001-01-01", "2001-01-02"])
    return Predictions(
        np.array([[1.5, -2.0, 0.0], [0.25, 3.0, -1.0]], np.float32),
        np.array([[1, 0, 0], [0, 1, 1]], np.uint8),
        days,
        days,
        np.array(["single", "composite"]),
        np.array(["西", "B", "C"]),
        "multi_label",
        "val",
        "ab12cd34",
    )


def test_round_trip_and_equal_bytes(tmp_path: Path):
    first, second = tmp_path / "predictions_val.npz", tmp_path / "again.npz"
    example().save(first)
    example().save(second)
    assert first.read_bytes() == second.read_bytes()
    back = load_split(tmp_path, "val")
    assert back.labels == ("西", "B", "C")
    assert np.array_equal(back.logits, example().logits)
    assert back.days.astype(str).tolist() == ["2001-01-01", "2001-01-02"]
    assert (back.target_kind, back.split) == ("multi_label", "val")


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_truncated_file_is_a_clear_error(tmp_path: Path, keep: int):
    path = tmp_path / "predictions_val.npz"
    example().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"not a readable predictions file .* run the train job again"):
        load_predictions(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.zeros((3, 3), np.float32)}, "different lengths"),
        ({"kinds": np.array(["single"])}, "different lengths"),
        ({"classes": np.array(["A"])}, "different lengths"),
        ({"logits": np.full((2, 3), np.nan, np.float32)}, "6 logits are NaN or infinite"),
    ],
)
def test_inconsistent_contents(tmp_path: Path, change: dict, message: str):
    path = tmp_path / "predictions_val.npz"
    replace(example(), **change).save(path)
    with pytest.raises(InputError, match=message):
        load_predictions(path)


def test_what_a_stage_refuses(tmp_path: Path):
    with pytest.raises(InputError, match=r"predictions_val\.npz: no such file; train first"):
        load_split(tmp_path, "val")
    replace(example(), target_kind="ranking").save(tmp_path / "predictions_val.npz")
    with pytest.raises(InputError, match="unknown kind 'ranking'"):
        load_split(tmp_path, "val")
    empty = {name: getattr(example(), name)[:0] for name in ("logits", "target", "ids", "dates", "kinds")}
    replace(example(), **empty).save(tmp_path / "predictions_val.npz")
    with pytest.raises(InputError, match=r"holds no samples; give store\.split\.val"):
        load_split(tmp_path, "val")


def test_decisions_that_lack_a_key(tmp_path: Path):
    with pytest.raises(InputError, match=r"thresholds\.json: no such file; run the thresholds job first"):
        load_decisions(tmp_path, ("A",))
    write_json(tmp_path / "thresholds.json", {"labels": ["A"], "made_from": {"files": {}}})
    with pytest.raises(InputError, match="lacks kind, thresholds, fallback"):
        load_decisions(tmp_path, ("A",))


def test_null_is_not_measured():
    assert np.isnan(number(None))
    assert number(0.25) == 0.25
