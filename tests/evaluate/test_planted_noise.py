"""A world whose labels are wrong on 3 % of days: training fold by fold, and the audit, through real command lines."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipeline.testing import World, write_world
from tests.conftest import Place, run_job

TYPES = ("1", "2A", "3B", "4A", "5", "6A")
CONFIG = """\
name: tiny
derive:
  raw: ["raw/*.nc"]
  fields: [msl, grad_msl]
  labels:
    files: ["raw/labels.csv"]
store:
  split:
    train: [1995, 1996, 1997]
    val: [1998]
    leave_one_year_out: true
train:
  epochs: 12
  threads: 1
evaluate:
  bootstrap: 20
"""


def flip(path: Path, share: float) -> set[str]:
    """Exchange the label of some days for another type, as a slip of the pen would; return these days."""
    rng = np.random.default_rng(7)
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = list(csv.reader(stream))
    wrong = rng.choice(len(rows), round(share * len(rows)), replace=False)
    for row in wrong:
        rows[row][1] = rng.choice([name for name in TYPES if name not in rows[row][1]])
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return {rows[row][0] for row in wrong}


@pytest.mark.slow
def test_the_top_of_the_list_is_mostly_planted_errors(tmp_path: Path):
    place = Place(tmp_path)
    write_world(World(start=date(1995, 1, 1), days=1461, types=TYPES, lat_points=13, lon_points=13), place.raw)
    wrong = flip(place.raw / "labels.csv", 0.03)
    place.config.write_text(CONFIG, encoding="utf-8")
    for job, *more in (("derive",), ("store",), ("run_backbones", "--backbones", "simple", "--folds", "all")):
        ended = run_job(job, place.config, *more)
        assert ended.code == 0, ended.text
    fold = next(
        path.parent for path in place.home.glob("results/tiny/simple-*/config.yaml") if "'1998'" in path.read_text()
    )
    ended = run_job("evaluate", fold, "--mode", "audit", f"evaluate.audit.count={len(wrong)}")
    assert ended.code == 0, ended.text
    assert "of 1443 labels" in ended.text, "1461 days less the gaps between splits"
    with (fold / "label_audit/suspects.csv").open(newline="", encoding="utf-8") as stream:
        listed = [row["date"] in wrong for row in csv.DictReader(stream)]
    for most in (10, 20, len(wrong)):
        hits = sum(listed[:most])
        print(f"first {most}: precision {hits / most:.2f}, recall {hits / len(wrong):.2f}")
    # Chance would find 3 %. The list is as long as there are errors, so its precision is its recall.
    assert np.mean(listed[:10]) >= 0.9
    assert np.mean(listed) >= 0.6
