"""What the image classifier's guide has of feature analysis, here: what ``docs/settings.md`` tells of it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.importance.made_up_series import SMALL, read


def test_the_number_of_trees_and_the_balance_of_classes_are_searched(done: Path) -> None:
    """Each judged block has the best of its own trials, the first of which is the config's, and tells both scores."""
    trials = [json.loads(line) for line in (done / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    blocks = read(done)["search"]["blocks"]
    assert len(blocks) == 4
    for block in blocks:
        own = [trial for trial in trials if trial["block"] == block["block"]]
        assert [trial["trial"] for trial in own] == [0, 1, 2]
        assert own[0]["params"]["rounds"] == SMALL["lightgbm"]["rounds"]
        assert all(5 <= trial["params"]["rounds"] <= 20 for trial in own[1:])
        assert all(0 <= trial["params"]["balance"] <= 1 for trial in own)
        best = max(own, key=lambda trial: trial["value"])
        assert block["params"] == best["params"]
        assert block["values"] == [trial["value"] for trial in own]
    searched = [trial for trial in trials if trial["trial"] > 0]
    for name in ("rounds", "balance", "num_leaves", "learning_rate"):
        assert len({trial["params"][name] for trial in searched}) > 1, name


def test_a_last_block_is_judged_once_and_told_apart(done: Path) -> None:
    """60 / 20 / 20 there; here folds on the first 80 %, and the last 20 % with its own confusion matrix."""
    result = read(done)
    folds, test = result["data"]["folds"], result["data"]["test"]
    assert [fold["trained"] for fold in folds] == [99, 199, 298], "walking forward"
    assert folds[-1]["last"] < test["first"], "no fold reaches into the last block"
    assert test["judged"] == result["test"]["samples"] == 100, "a fifth of 499 hours"
    assert sum(map(sum, result["test"]["confusion"])) == 100
    assert result["test"]["macro_f1"] > result["test"]["baselines"]["majority"]
