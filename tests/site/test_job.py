"""``jobs/report.py`` by its real command lines: a run and then the page, or the page alone; the origin of the data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.site.job import asked_for_all
from tests.conftest import Place, run_job
from tests.site.made_up import add_run
from tests.site.test_build import rows_of, told_of


def test_a_chain_ends_with_the_page_and_the_origin_of_its_data(trained_place: Place) -> None:
    results, run = trained_place.home / "results", trained_place.one("results/tiny/simple-*")
    identity = f"tiny/{run.name}"
    assert (results / "index.html").is_file()
    row, told = rows_of(results)[identity], told_of(results, identity)
    report = json.loads((run / "test_report.json").read_text())
    assert row["test"]["f"][0] == pytest.approx(report["scores"]["macro_f1"], abs=5e-5)
    assert row["val"]["by"] == json.loads((run / "val_report.json").read_text())["best_baseline"]["macro_f1"]
    assert row["faults"] == 0
    store = json.loads(trained_place.one("data/store/tiny/*/store.json").read_text())
    derived = json.loads(trained_place.one("data/derived/*/manifest.json").read_text())
    assert told["origin"]["store"]["version"] == store["version"]
    assert told["origin"]["store"]["files"]["grid.npy"] == store["files"]["grid.npy"]["sha256"][:16]
    noted = json.loads((run / "provenance.json").read_text())
    assert noted["store"]["files"]["grid.npy"] == store["files"]["grid.npy"]["sha256"]
    assert told["origin"]["derived"]["version"] == derived["version"] == store["upstream"]["derived"]
    assert {f"figures/{name}.png" for name in ("loss_curve", "confusion_val", "scores_test")} <= set(told["pictures"])


def test_the_page_alone_of_light_files_and_of_none(trained_place: Place, tmp_path: Path) -> None:
    place = Place(tmp_path)
    heavy = shutil.ignore_patterns("*.npz", "*.pt", "checkpoints", ".site")
    shutil.copytree(trained_place.home / "results", tmp_path / "results", ignore=heavy)
    shutil.copy(trained_place.config, place.config)
    ended = run_job("report", tmp_path / "results")
    assert ended.code == 0, ended.text
    assert "(runs: 1; folders that had changed: 1)" in ended.text
    assert told_of(tmp_path / "results", rows_of(tmp_path / "results").popitem()[0])["origin"]["store"]
    assert run_job("report", tmp_path / "results" / "tiny").code == 0
    ended = run_job("report", tmp_path / "nothing_here")
    assert ended.code == 2, ended.text


def test_which_command_lines_mean_the_page(tmp_path: Path) -> None:
    results = tmp_path / "results"
    run = add_run(results, "demo/simple-00000001")
    assert asked_for_all([], tmp_path) == results
    assert asked_for_all(["--verbose"], tmp_path) == results
    assert asked_for_all([str(results)], tmp_path) == results
    assert asked_for_all([str(results / "demo")], tmp_path / "else") == results
    for words in ([str(run)], ["configs/demo.yaml"], ["--help"], [str(results), "report.dpi=90"], [str(tmp_path)]):
        assert asked_for_all(words, tmp_path / "else") is None
