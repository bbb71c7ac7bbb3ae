"""Pictures and tables of made-up sweeps: failed backbones, one run, names with brackets; equal bytes each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipeline.core.artifact import write_json
from pipeline.core.run import RunFolder
from pipeline.report.sweep import draw_sweep
from pipeline.report.sweep_table import plus_minus, sweep_tables
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.plan import Plan, Planned
from pipeline.sweep.scores import METRICS, TEST_METRICS
from pipeline.sweep.summary import FAILED, FINISHED, WAITING, Row, row_of, summarise, write_summary


class _Named:
    name = "made up"


def made_up(backbones: dict[str, float], folds: int, seeds: int, folder: Path) -> tuple[Plan, list[Row]]:
    """Return a sweep whose backbones have about these scores; the last one fails in its last run."""
    chance = np.random.default_rng(7)
    runs, rows = [], []
    for backbone, level in backbones.items():
        for fold in range(folds):
            for seed in range(seeds):
                one = Planned(backbone, str(1991 + fold), seed, RunFolder(folder / f"{backbone}-{fold}{seed}"))
                score = float(level + 0.04 * np.sin(fold) + chance.normal(0, 0.01))
                runs.append(one)
                rows.append(row_of(one, FINISHED, None, numbers(score, len(backbone))))
    rows[-1] = row_of(runs[-1], FAILED, "train: it [was] the disk", None)
    plan = Plan(_Named(), SweepConfig(), tuple(runs), folder / "sweeps" / "x", folder, (), {})  # type: ignore[arg-type]
    return plan, rows


def numbers(score: float, size: int) -> dict[str, Any]:
    facts = {
        "trained": "x",
        "fallback": False,
        "select": "val_map",
        "best_epoch": 7,
        "epochs": 9,
        "seconds": 3.0 * size**1.5,
        "parameters": 1000 * size**3,
        "peak_memory_mb": 900.0,
        "host": "h",
    }
    return {"facts": facts, "val": dict.fromkeys(METRICS, score), "test": None, "excluded": ["[U]"]}


NAMES = {"simple": 0.61, "resnet_small": 0.63, "convnext_tiny": 0.66, "vit_small_patch16_224.augreg_in21k": 0.6}


def text_of(summary: dict[str, Any]) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(sweep_tables(summary))
    return console.export_text()


def test_pictures_repeat_byte_for_byte(tmp_path: Path) -> None:
    plan, rows = made_up(NAMES, 7, 2, tmp_path)
    write_json(tmp_path / "summary.json", summarise(plan, rows))
    names = draw_sweep(tmp_path, 100)
    first = [(tmp_path / "figures" / name).read_bytes() for name in names]
    assert draw_sweep(tmp_path, 100) == names == ("scores.png", "cost.png", "differences.png")
    assert first == [(tmp_path / "figures" / name).read_bytes() for name in names]


def test_tables_tell_what_is_missing_and_how_sure_it_is(tmp_path: Path) -> None:
    plan, rows = made_up(NAMES, 7, 2, tmp_path)
    summary = summarise(plan, rows)
    assert [one["backbone"] for one in summary["backbones"]] == [
        "convnext_tiny",
        "resnet_small",
        "simple",
        "vit_small_patch16_224.augreg_in21k",
    ]
    assert summary["counts"] == {FINISHED: 55, FAILED: 1, "interrupted": 0, WAITING: 0}
    text = text_of(summary)
    assert "13/14" in text
    assert "train: it [was] the disk" in text
    assert "without [U]" in text
    assert summary["backbones"][1]["against_best"]["statement"].endswith(
        "better in 0 of 7 folds, worse in 7; p = 0.016 (signs), 0.016 (signed ranks)"
    )
    (line,) = [line.split() for line in text.splitlines() if line.startswith("resnet_small") and "of 7" in line]
    assert line[-8:] == ["0", "of", "7", "7", "of", "7", "0.016", "0.016"]


def test_an_incomplete_backbone_is_not_the_best(tmp_path: Path) -> None:
    plan, rows = made_up({"simple": 0.5, "positional": 0.9}, 3, 1, tmp_path)
    summary = summarise(plan, rows)
    assert summary["best"] == "simple"
    assert summary["backbones"][1]["val"]["macro_f1"]["mean"] > 0.8


def test_pictures_of_an_earlier_summary_do_not_stay(tmp_path: Path) -> None:
    plan, rows = made_up({"simple": 0.5, "positional": 0.9}, 3, 1, tmp_path)
    write_summary(plan, summarise(plan, rows))
    pictures = [plan.folder / "figures" / name for name in draw_sweep(plan.folder, 50)]
    write_summary(plan, summarise(plan, rows))
    assert all(path.exists() for path in pictures)
    rows[0] = row_of(plan.runs[0], FAILED, "train: no luck", None)
    write_summary(plan, summarise(plan, rows))
    assert not any(path.exists() for path in pictures)


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_backbone_and_nothing_finished(tmp_path: Path, seeds: int) -> None:
    plan, rows = made_up({"simple": 0.5}, 1, seeds, tmp_path)
    summary = summarise(plan, rows)
    write_json(tmp_path / "summary.json", summary)
    assert len(draw_sweep(tmp_path, 50)) == (2 if seeds == 2 else 0)
    assert summary["best"] == ("simple" if seeds == 2 else None)
    assert "runs without scores" in text_of(summary)
    assert TEST_METRICS[0] in METRICS


def test_mean_and_spread_as_text() -> None:
    assert plus_minus({"mean": 0.51234, "sd": 0.0126}) == "0.512 ± 0.013"
    assert plus_minus({"mean": 0.5, "sd": None}) == "0.500"
    assert plus_minus({"mean": None, "sd": None}) == "–"
