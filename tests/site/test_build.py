"""Folders in, pages out: what changed is read again, what is broken is told, and nothing in a name becomes markup."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.site.build import build
from tests.conftest import ROOT
from tests.site.made_up import add_against, add_day, add_run, unfinished, write

HOSTILE = "<img src=x onerror=alert(1)>"


def data_of(results: Path) -> dict[str, Any]:
    text = (results / ".site" / "data.js").read_text(encoding="utf-8")
    return dict(json.loads(text.removeprefix("window.ISOBAR = ").removesuffix(";\n")))


def told_of(results: Path, identity: str) -> dict[str, Any]:
    page = (results / ".site" / "runs" / f"{identity}.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="text/plain" id="told">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(zlib.decompress(b64decode(found[1], validate=True))))


def rows_of(results: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in data_of(results)["runs"]}


def stamps(results: Path) -> dict[Path, int]:
    """Return when each file was written, but for the mark of who builds."""
    files = (path for path in results.rglob("*") if path.is_file() and not path.name.startswith(".lock"))
    return {path: path.stat().st_mtime_ns for path in files}


def test_scores_states_and_files_of_a_run_are_told(tmp_path: Path) -> None:
    add_run(tmp_path, "demo/simple-00000001", 0.7)
    assert build(tmp_path).runs == 1
    row = rows_of(tmp_path)["demo/simple-00000001"]
    assert (row["state"], row["cross"], row["val"]["f"], row["test"]["f"][0]) == (
        "done",
        0.68,
        [0.7, 0.659, 0.737],
        0.67,
    )
    assert row["val"]["up"]["f"][0] == pytest.approx(0.7 - 0.31, abs=1e-4)
    told = told_of(tmp_path, "demo/simple-00000001")
    assert "figures/loss_curve.png" in told["pictures"]
    assert told["packages"] == ["python 3.11.7 on Linux", "numpy==2.1.0", "torch==2.5.1"]
    assert [row[0] for row in told["val"]["parts"]["season"]] == ["DJF", "MAM", "JJA", "SON"]
    assert told["curves"]["epoch"][0], told["curves"]["epoch"][-1] == (1, 30)


def test_what_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    for k in range(3):
        add_run(tmp_path, f"demo/simple-0000000{k}")
    add_day(tmp_path, "demo", "2026-10-01", ["1"])
    assert build(tmp_path).read == 4
    before = stamps(tmp_path)
    assert build(tmp_path).read == 0
    assert stamps(tmp_path) == before
    record = tmp_path / "demo/simple-00000001/run.json"
    record.write_text(record.read_text().replace("node01", "elsewhere"))
    assert build(tmp_path).read == 1
    assert rows_of(tmp_path)["demo/simple-00000001"]["host"] == "elsewhere"


def test_an_update_step_by_step_ends_as_a_build_from_nothing(tmp_path: Path) -> None:
    for k in range(4):
        add_run(tmp_path, f"demo/simple-0000000{k}", 0.6 + k / 50, seed=k)
        build(tmp_path)
    pages = [path for path in (tmp_path / ".site").rglob("*") if path.suffix in (".js", ".html", ".css")]
    step_by_step = {path: path.read_bytes() for path in [*pages, tmp_path / "index.html"]}
    (tmp_path / ".site" / "memory.json.gz").unlink()
    for path in step_by_step:
        path.unlink()
    build(tmp_path)
    assert {path: path.read_bytes() for path in step_by_step} == step_by_step


def test_a_run_that_is_gone_leaves_no_page(tmp_path: Path) -> None:
    folder = add_run(tmp_path, "demo/simple-00000001")
    add_run(tmp_path, "demo/simple-00000002")
    build(tmp_path)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    build(tmp_path)
    assert list(rows_of(tmp_path)) == ["demo/simple-00000002"]
    assert [path.name for path in (tmp_path / ".site/runs").rglob("*.html")] == ["simple-00000002.html"]


BROKEN = {
    "run.json": ['{"schema_version": 1, "s', "[]", '{"schema_version": 9}', '{"schema_version": 1, "status": {"a": 1}}',
                 "\0\1"],
    "val_report.json": ['{"schema_version": 1}', '{"schema_version": 1, "labels": 3}', "[" * 20000, ""],
    "history.json": ['{"schema_version": 1, "epochs": [1, 2]}', '{"schema_version": 1, "epochs": {"a": 1}}'],
    "thresholds.json": ['{"schema_version": 1, "cross_fit": null}'],
    "norm.json": ['{"schema_version": 1, "inputs": {"grid": 7}}'],
    "config.yaml": ["a: [", "- 1\n- 2\n", "\t", "\n".join(["a: &a [x]", *(f"{c}: &{c} [*a, *a]" for c in "bcd")])],
    "against/demo.simple-00000009.json": ['{"schema_version": 1, "splits": {"val": 3}, "against": "simple-00000009"}'],
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [(name, text) for name in BROKEN for text in BROKEN[name]])
def test_what_is_broken_is_told_and_stops_nothing(tmp_path: Path, name: str, content: str) -> None:
    add_run(tmp_path, "demo/simple-00000001")
    path = add_run(tmp_path, "demo/simple-00000002") / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    assert build(tmp_path).runs == 2
    row = rows_of(tmp_path)["demo/simple-00000002"]
    faults = told_of(tmp_path, "demo/simple-00000002")["faults"]
    if content.startswith("a: &a"):
        assert not faults  # repeated by reference, which is allowed and stays small
        return
    assert len(faults) == row["faults"] == 1, faults
    assert name.rsplit("/")[-1] in faults[0]
    assert str(tmp_path) not in faults[0]
    assert (row["state"] == "broken") == (name == "run.json")
    assert rows_of(tmp_path)["demo/simple-00000001"]["faults"] == 0


def test_a_bomb_of_references_does_not_explode(tmp_path: Path) -> None:
    bomb = ["a0: &a0 {x: 1, y: 2}"] + [f"a{k}: &a{k} {{x: *a{k - 1}, y: *a{k - 1}}}" for k in range(1, 40)]
    (add_run(tmp_path, "demo/simple-00000001") / "config.yaml").write_text("\n".join(bomb))
    build(tmp_path)  # which would never end
    assert "more than 3000 settings" in told_of(tmp_path, "demo/simple-00000001")["faults"][0]


def test_half_a_folder_is_shown_with_the_reason(tmp_path: Path) -> None:
    add_run(tmp_path, "demo/simple-00000001")
    (tmp_path / "demo/resnet18-0a1b2c3d").mkdir()
    (tmp_path / "demo/notes").mkdir()
    build(tmp_path)
    rows = rows_of(tmp_path)
    assert set(rows) == {"demo/simple-00000001", "demo/resnet18-0a1b2c3d"}
    assert rows["demo/resnet18-0a1b2c3d"]["state"] == "broken"
    assert "no run.json" in rows["demo/resnet18-0a1b2c3d"]["why"]


def test_a_run_at_work_is_told_from_one_that_fell_silent(tmp_path: Path) -> None:
    beat = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    unfinished(add_run(tmp_path, "demo/simple-00000001"), status="running", heartbeat=beat)
    unfinished(add_run(tmp_path, "demo/simple-00000002"), status="running", heartbeat="2026-01-01T00:00:00Z")
    unfinished(add_run(tmp_path, "demo/simple-00000003"), status="interrupted", error="Interrupted: SIGTERM")
    unfinished(add_run(tmp_path, "demo/simple-00000004"))
    build(tmp_path)
    states = {identity[-1]: row["state"] for identity, row in rows_of(tmp_path).items()}
    assert states == {"1": "running", "2": "silent", "3": "interrupted", "4": "trained"}


def test_settings_are_compared_with_the_parent_or_the_closest_run(tmp_path: Path) -> None:
    one = add_run(tmp_path, "demo/simple-00000001", seed=1)
    two, far = (
        add_run(tmp_path, "demo/simple-00000002", seed=2),
        add_run(tmp_path, "demo/simple-00000003", seed=3, epochs=9),
    )
    for path in (two, far):
        text = (one / "config.yaml").read_text().replace("seed: 1", f"seed: {2 if path == two else 3}")
        (path / "config.yaml").write_text(text if path == two else text.replace("epochs: 30", "epochs: 9"))
    build(tmp_path)
    diff = told_of(tmp_path, "demo/simple-00000001")["diff"]
    assert (diff["run"], diff["kind"], diff["rows"]) == ("demo/simple-00000002", "closest", [["train.seed", "1", "2"]])
    (two / "config.yaml").write_text((two / "config.yaml").read_text() + "  start_from: results/demo/simple-00000003\n")
    build(tmp_path)
    assert told_of(tmp_path, "demo/simple-00000002")["diff"]["kind"] == "parent"


def test_seeds_of_the_same_settings_have_a_mean_and_a_spread(tmp_path: Path) -> None:
    for k, f1 in enumerate((0.70, 0.72, 0.74)):
        folder = add_run(tmp_path, f"demo/simple-0000000{k}", f1, seed=k)
        (folder / "config.yaml").write_text(f"train:\n  seed: {k}\n")
    build(tmp_path)
    assert rows_of(tmp_path)["demo/simple-00000001"]["family"] == [3, 0.72, 0.02]


def test_runs_judged_on_other_days_form_another_group(tmp_path: Path) -> None:
    for k in range(3):
        folder = add_run(tmp_path, f"demo/simple-0000000{k}")
    report = json.loads((folder / "val_report.json").read_text())
    (folder / "val_report.json").write_text(json.dumps({**report, "first": "1990-01-01", "days": 12}))
    build(tmp_path)
    assert [row["group"] for row in rows_of(tmp_path).values()] == [0, 0, 1]


def test_names_and_classes_cannot_become_markup(tmp_path: Path) -> None:
    identity = f"{HOSTILE}/{HOSTILE}-00000001"
    folder = add_run(
        tmp_path, identity, status="failed", error="</script><script>alert(2)</script>\u2028", host='"><b>'
    )
    for name in ("val_report.json", "test_report.json"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace('"6C"', '"</script><script>alert(3)</script>"'), encoding="utf-8")
    build(tmp_path)
    for path in [tmp_path / "index.html", *(tmp_path / ".site").rglob("*.html"), tmp_path / ".site/data.js"]:
        text = path.read_text(encoding="utf-8")
        assert "<script>alert" not in text, path
        assert HOSTILE not in text.replace(f"{HOSTILE}.html", ""), path
        if path.suffix == ".html":
            assert "default-src 'none'" in text
            assert "http:" not in text
            assert "https:" not in text
    assert data_of(tmp_path)["runs"][0]["id"] == identity


def test_every_text_is_there_in_both_languages() -> None:
    text = (ROOT / "pipeline/site/static/texts.js").read_text(encoding="utf-8")
    keys = re.findall(r'(?:^|[{,] )\s*(\w+): \["', text, re.MULTILINE)
    assert len(keys) > 150
    assert len(keys) == len(set(keys)), {key for key in keys if keys.count(key) > 1}
    used = set()
    for path in (ROOT / "pipeline/site/static").glob("*.js"):
        used |= set(re.findall(r'\bt\("(\w+)"', path.read_text(encoding="utf-8")))
    assert used <= set(keys), used - set(keys)


def test_searches_sweeps_and_analyses_are_listed(tmp_path: Path) -> None:
    add_run(tmp_path, "demo/simple-00000001")
    study, analysis = "demo/first-0a0b0c0d", "more/importance-0a0b0c0d"
    write(tmp_path / study / "run.json", {"job": "tune", "status": "done", "n_trials": 3})
    write(tmp_path / study / "trials_history.json", {"trials": [{"number": 0, "state": "COMPLETE", "value": 0.5}]})
    write(tmp_path / "demo/sweeps/backbones-0a0b0c0d/summary.json", {})
    write(tmp_path / analysis / "run.json", {"job": "importance", "status": "failed", "error": "no data"})
    build(tmp_path)
    data = data_of(tmp_path)
    assert data["studys"][0]["trials"] == [[0, "COMPLETE", 0.5]]
    assert data["sweeps"][0]["faults"] == ["summary.json: has no entry 'ordered_by'"]
    assert data["importances"][0]["why"] == "no data"
    assert len(data["runs"]) == 1


def test_a_comparison_is_told_on_the_run_and_for_all(tmp_path: Path) -> None:
    for k in (1, 2):
        add_run(tmp_path, f"demo/simple-0000000{k}")
    add_against(tmp_path, "demo/simple-00000001", "demo/simple-00000002")
    build(tmp_path)
    (pair,) = data_of(tmp_path)["pairs"]
    assert (pair["run"], pair["against"]) == ("demo/simple-00000001", "demo/simple-00000002")
    assert pair["splits"][0]["differences"] == [["macro F1", 0.03, 0.01, 0.05, 1]]


def test_what_evaluate_writes_on_request_is_told_when_it_comes(tmp_path: Path) -> None:
    folder = add_run(tmp_path, "demo/simple-00000001")
    (folder / "explain/feature").mkdir(parents=True)
    build(tmp_path)
    (folder / "explain/feature/importance.png").write_bytes(b"")
    one = {"date": "1998-02-01", "id": "x", "truth": ["1"], "said": ["2A", "5"], "probability_of_label": 0.001}
    told = {"split": "test", "wrong": 7, "samples": 90, "shown": [one], "confusions": []}
    write(folder / "misclassified/test.json", told)
    (folder / "misclassified/test.csv").write_text("")
    assert build(tmp_path).read == 1
    found = told_of(tmp_path, "demo/simple-00000001")
    assert "explain/feature/importance.png" in found["pictures"]
    assert "misclassified/test.csv" in found["files"]
    assert found["worst"]["shown"] == [["1998-02-01", "1", "2A+5", 0.001]]


def test_days_are_told_with_their_trouble(tmp_path: Path) -> None:
    add_day(tmp_path, "demo", "2026-10-01", ["1", "2A"])
    add_day(tmp_path, "demo", "2026-10-02", [], status="failed", trouble={"reason": "no values of msl yet"})
    (tmp_path / "demo/daily/2026-10-03.json").write_text("{")
    build(tmp_path)
    (diary,) = data_of(tmp_path)["days"]
    first, second, third = diary["days"]
    assert (first["labels"], first["p"], first["map"]) == ("1+2A", [["1", 0.9], ["2A", 0.3]], 1)
    assert (second["state"], second["why"]) == ("failed", "no values of msl yet")
    assert third["state"] == "broken"


def test_no_folder_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        build(tmp_path / "results")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    add_run(tmp_path, "demo/simple-00000001")
    (tmp_path / ".site").write_text("in the way")
    with pytest.raises(EnvironmentFault):
        build(tmp_path)


BUILD = "import sys; from pathlib import Path; from pipeline.site.build import build; build(Path(sys.argv[1]))"


def start(results: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BUILD, str(results)], cwd=ROOT, stderr=subprocess.PIPE)


def test_builds_at_the_same_moment_do_not_lose_a_run(tmp_path: Path) -> None:
    for k in range(3):
        add_run(tmp_path, f"demo/simple-0000000{k}")
    at_work = [start(tmp_path) for _ in range(2)]
    add_run(tmp_path, "demo/simple-00000009")
    at_work.append(start(tmp_path))
    for process in at_work:
        assert process.wait(60) == 0, process.stderr.read() if process.stderr else ""
        assert process.stderr
        process.stderr.close()
    assert len(rows_of(tmp_path)) == 4


@pytest.mark.slow
def test_killed_at_any_moment_every_page_is_whole(tmp_path: Path) -> None:
    draw = random.Random(5)
    for k in range(40):
        add_run(tmp_path, f"demo/simple-000000{k:02x}", seed=k)
    build(tmp_path)
    for k in range(12):
        add_run(tmp_path, f"demo/simple-000001{k:02x}", 0.5, seed=k)
        process = start(tmp_path)
        time.sleep(draw.uniform(0.3, 1.0))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for path in [tmp_path / "index.html", *(tmp_path / ".site").rglob("*.html")]:
            assert path.read_text(encoding="utf-8").endswith("</html>"), path
        data_of(tmp_path)
    build(tmp_path)
    ended = {path: path.read_bytes() for path in (tmp_path / ".site").rglob("*.html")}
    (tmp_path / ".site/memory.json.gz").unlink()
    build(tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / ".site").rglob("*.html")} == ended
    assert len(rows_of(tmp_path)) == 52


def test_thresholds_that_the_report_was_not_made_with_tell_nothing(tmp_path: Path) -> None:
    for name, flattery in (("same", 0.05), ("older", 0.02)):
        folder = add_run(tmp_path, f"demo/{name}")
        told = json.loads((folder / "val_report.json").read_text())
        write(folder / "val_report.json", {**told, "cross_fit_flattery": flattery})
        write(folder / "thresholds.json", {"cross_fit": {"macro_f1_cross_fit": 0.65, "flatters_by": 0.05}})
    build(tmp_path)
    rows = rows_of(tmp_path)
    assert rows["demo/same"]["cross"] == 0.65
    assert "cross" not in rows["demo/older"]
    assert any("run the evaluate job again" in fault for fault in told_of(tmp_path, "demo/older")["faults"])
