"""A part of the faults of ``python -m tests.faults``, and the harness itself: it must be able to find a loss."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import kinds
from tests.faults.compare import fingerprint, half_written
from tests.faults.harness import Injected, draw, possible, run, table
from tests.faults.kinds import LOST, SURVIVED, Lost, Verdict, inject, one_clear_line
from tests.faults.nursery import Ended
from tests.faults.scenes import SCENES, Scene, Theatre, theatre, uninterrupted


@pytest.fixture(scope="module")
def stage() -> Iterator[Theatre]:
    with theatre() as made:
        yield made


@pytest.mark.slow
def test_every_kind_of_fault_on_two_jobs_each(stage: Theatre) -> None:
    names = random.Random(3).sample(["download", "derive", "store", "train", "thresholds", "evaluate"], 6)
    pairs = [(names[(2 * place + more) % 6], kind) for place, kind in enumerate(possible(stage)) for more in (0, 1)]
    done = list(run(stage, pairs, 3))
    assert len(done) == 2 * len(possible(stage))
    lost = [one for one in done if one.verdict.outcome == LOST]
    assert not lost, lost


@pytest.mark.slow
def test_a_loss_is_found(stage: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that spoils a result behind the job's back counts as a loss, as does one that ends in a traceback."""
    scene = SCENES["derive"]
    uninterrupted(stage, scene)

    def spoiled(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
        theatre.nursery.start(theatre.order(scene)).wait()
        path = next(theatre.home.glob("data/derived/*/1995-06.nc"))
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        kinds.finish(theatre, scene, "a spoiled result")
        return "nothing seen"

    monkeypatch.setitem(kinds.KINDS, "spoiled", spoiled)
    verdict = inject(stage, scene, "spoiled", "1")
    assert verdict.outcome == LOST
    assert "1995-06.nc differ" in verdict.how


def test_fingerprints_know_nothing_of_time(tmp_path: Path) -> None:
    for name, seconds, loss in (("a", 1.0, 0.5), ("b", 2.0, 0.5), ("c", 2.0, 0.4)):
        run = tmp_path / name / "results" / "tiny" / "run"
        run.mkdir(parents=True)
        (run / "history.json").write_text(json.dumps({"epochs": [{"seconds": seconds, "loss": loss}]}))
        (run / "metrics.csv").write_text(f"epoch,seconds,loss\n1,{seconds},{loss}\n")
        (run / "run.json").write_text(json.dumps({"pid": os.getpid(), "seconds": seconds}))
        (run / "train.log").write_text(name)
    a, b, c = (fingerprint(tmp_path / name) for name in "abc")
    assert a == b != c
    assert set(a) == {"results/tiny/run/history.json", "results/tiny/run/metrics.csv"}


def test_half_written_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "whole.json").write_text("{}")
    (tmp_path / "data" / "half.json").write_text('{"a": ')
    (tmp_path / "data" / ".half.json.part").write_text('{"a": ')
    assert half_written(tmp_path) == ["data/half.json"]


def test_what_is_one_clear_line() -> None:
    line = "2026-01-01 00:00:00 ERROR x.nc: truncated; download it again\n"
    one_clear_line(Ended(2, line))
    for ended in (
        Ended(2, line + line),
        Ended(2, ""),
        Ended(0, line),
        Ended(1, line + "Traceback (most recent call last):\n"),
    ):
        with pytest.raises(Lost):
            one_clear_line(ended)


def test_faults_are_drawn_over_all_pairs() -> None:
    kinds_here = list(kinds.KINDS)
    pairs = draw(340, 1, list(SCENES), kinds_here)
    assert len(pairs) == 340
    assert set(pairs) == {(job, kind) for job in SCENES for kind in kinds_here}
    assert pairs == draw(340, 1, list(SCENES), kinds_here) != draw(340, 2, list(SCENES), kinds_here)


def test_the_table() -> None:
    done = [
        Injected(0, "derive", "SIGKILL", Verdict(SURVIVED, "")),
        Injected(1, "derive", "SIGKILL", Verdict(LOST, "x")),
        Injected(2, "store", "full disk", Verdict(SURVIVED, "")),
    ]
    rows = table(done).splitlines()
    assert rows[2] == "| derive | 2 (**1 lost**) | 0 | 2 | 1 | 1 |"
    assert rows[-1] == "| all | 2 (**1 lost**) | 1 | 3 | 2 | 1 |"
