"""The report job on a made-up run: pictures that show something, a table that says the same, and its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.contract.scores import average_precision
from pipeline.core.artifact import read_json
from pipeline.core.errors import InputError
from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.stage import evaluate
from pipeline.report import style
from pipeline.report.case import load_case
from pipeline.report.config import ReportConfig
from pipeline.report.confusion import matrix, readable_on
from pipeline.report.curves import pr_points
from pipeline.report.loss import loss_curve
from pipeline.report.stage import report
from pipeline.report.style import key, new_figure, save, shortened, text_width
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.stage import fit_thresholds
from tests.evaluate.made_up_run import MadeUp, history, make

JOB = Path(__file__).parents[2] / "jobs" / "report.py"
SMALL = ReportConfig(dpi=50)
SPLIT_PICTURES = ("confusion", "pr_curves", "reliability", "scores", "subscores", "threshold_curves")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    monkeypatch.setenv("ISOBAR_HOME", str(tmp_path))
    found = make(tmp_path, classes=("A", "[B]", "C$x$", "D"), rare=(3,), absent=(3,), days_a_year=60)
    fit_thresholds(ThresholdsConfig(), found.run)
    evaluate(EvaluateConfig(bootstrap=50), found.run, found.store)
    return found


def test_pictures_are_there_and_not_blank_and_the_table_agrees(made: MadeUp, capsys: pytest.CaptureFixture[str]):
    done = report(SMALL, made.run)
    assert not done.fresh
    expected = {"loss_curve.png"} | {f"{name}_{split}.png" for name in SPLIT_PICTURES for split in ("val", "test")}
    assert set(done.names) == expected
    for name in expected:
        pixels = imread(made.run / "figures" / name)[..., :3]
        assert min(pixels.shape[:2]) > 100
        assert pixels.std() > 0.03, name  # white paper has 0, one line of text about 0.01
        assert 0.5 < (pixels.min(axis=2) > 0.97).mean() < 0.99 or name.startswith("confusion"), name
    printed = capsys.readouterr().out
    scores = read_json(made.run / "test_report.json")
    row = scores["classification_report"]["A"]
    line = next(line for line in printed.split("test: ")[1].splitlines() if line.startswith("A "))
    assert line.split()[1] == str(row["support"])
    assert line.split()[-1] == f"{row['f1-score']:.2f}"
    assert f"{scores['scores']['macro_f1']:.3f}" in printed
    assert "[B]" in printed
    assert "0.700*" in printed


def test_second_call_is_fresh_and_a_new_drawing_has_equal_bytes(made: MadeUp):
    (made.run / "predictions_test.npz").unlink()  # half the pictures do
    report(SMALL, made.run)
    folder = made.run / "figures"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert report(SMALL, made.run).fresh
    (folder / "pr_curves_val.png").unlink()
    assert not report(SMALL, made.run).fresh
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not report(ReportConfig(dpi=60), made.run).fresh


def test_reports_older_than_the_thresholds_are_refused(made: MadeUp):
    fit_thresholds(ThresholdsConfig(beta=2), made.run)
    with pytest.raises(InputError, match=r"val_report\.json: was made from another thresholds\.json .* evaluate job"):
        report(SMALL, made.run)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("history.json", "train first"),
        ("val_report.json", "run the evaluate job first"),
        ("thresholds.json", "run the thresholds job first"),
        ("predictions_val.npz", "train first"),
    ],
)
def test_missing_inputs(made: MadeUp, missing: str, message: str):
    (made.run / missing).unlink()
    with pytest.raises(InputError, match=message):
        report(SMALL, made.run)


def test_japanese_names_without_a_font_warn_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    said: list[str] = []
    monkeypatch.setattr(style, "_CJK", ("No Such Font",))
    monkeypatch.setattr(style.log, "warning", lambda text, *rest: said.append(text))
    with style.look(["西高東低", "台風"]):
        save(new_figure(3, 1, "西高東低", ""), tmp_path / "a.png", 50)
        save(new_figure(3, 1, "台風", ""), tmp_path / "b.png", 50)
    assert len(said) == 1
    assert "no Japanese font" in said[0]


def test_a_font_with_the_characters_is_used(monkeypatch: pytest.MonkeyPatch):
    import matplotlib as mpl

    monkeypatch.setattr(style, "_CJK", ("No Such Font", "DejaVu Serif"))
    with style.look(["西"]):
        assert mpl.rcParams["font.family"] == ["DejaVu Sans", "DejaVu Serif"]
    with style.look(["A", "2B"]):
        assert mpl.rcParams["font.family"] == ["DejaVu Sans"]


def test_confusion_matrix_counts():
    target, chosen = np.array([1, 1, 1, 0, 0, 0], bool), np.array([1, 1, 0, 1, 0, 0], bool)
    assert matrix(target, chosen).tolist() == [[2, 1], [1, 2]]


def test_text_is_readable_on_every_cell():
    from matplotlib import colormaps

    assert readable_on((0.0, 0.0, 0.2)) == "white"
    assert readable_on((1.0, 1.0, 1.0)) == style.INK
    colours = np.array([colormaps["Blues"](x)[:3] for x in np.linspace(0, 0.6, 50)])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    contrast = [
        1.05 / (light + 0.05) if readable_on(tuple(colour)) == "white" else (light + 0.05) / 0.066
        for colour, light in zip(colours, luminance, strict=True)
    ]
    assert min(contrast) >= 4.5  # WCAG AA


def test_the_area_under_the_drawn_curve_is_the_average_precision():
    rng = np.random.default_rng(0)
    target, score = rng.random((200, 1)) < 0.2, np.round(rng.normal(size=(200, 1)), 1)
    recall, precision = pr_points(target[:, 0], score[:, 0])
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(average_precision(target, score)[0])


def test_the_loss_curve_marks_the_metric_that_selects():
    chosen = history(np.random.default_rng(0))
    for select, panel in (("val_map", 1), ("val_loss", 0)):
        entry = chosen["epochs"][chosen["best_epoch"] - 1]
        chosen |= {"select": select, "best": entry[select]}
        figure = loss_curve(chosen, "run")
        dots = [line for line in figure.axes[panel].lines if line.get_marker() == "o"]
        assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [(chosen["best_epoch"], entry[select])]
        assert any(f"best {select}" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_loss_curve_of_a_short_run(epochs: int, tmp_path: Path):
    chosen = history(np.random.default_rng(0), epochs)
    chosen["epochs"][-1]["lr"] = 0.0
    chosen["epochs"][0]["val_map"] = None
    save(loss_curve(chosen, "run"), tmp_path / "a.png", 50)
    assert imread(tmp_path / "a.png")[..., :3].std() > 0.02


def test_long_names_are_cut_by_width():
    assert shortened("A") == "A"
    assert shortened("x" * 30) == "x" * 17 + "…"
    assert text_width(shortened("気" * 20)) <= 18
    assert text_width("気a") == 3


def test_every_panel_and_the_legend_lie_inside_the_picture(made: MadeUp):
    from pipeline.report.curves import pr_curves
    from pipeline.report.dots import score_dots

    case = load_case(made.run, "val")
    with style.look(case.labels):
        figures = [pr_curves(case, 1), pr_curves(case, 5), score_dots(case)]
        for figure in figures:
            figure.draw_without_rendering()
    for figure in figures:
        width, height = figure.canvas.get_width_height()
        boxes = [axis.get_window_extent() for axis in figure.axes if axis.get_visible()]
        boxes += [text.get_window_extent() for text in figure.texts] + [figure.legends[0].get_window_extent()]
        for box in boxes:
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= width + 1
            assert box.y1 <= height + 1
        legend = figure.legends[0].get_window_extent()
        assert all(legend.y0 >= axis.get_window_extent().y1 for axis in figure.axes if axis.get_visible())
        assert all(not legend.overlaps(text.get_window_extent()) for text in figure.texts[:2])


def test_legend_entries_keep_their_look():
    entry = key("baseline", "#000000", marker="D", filled=False)
    assert entry.get_markerfacecolor() == "white"
    assert entry.get_label() == "baseline"


def test_command_line(made: MadeUp):
    environment = {**os.environ, "ISOBAR_HOME": str(made.home), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(JOB), *arguments], env=environment, capture_output=True, text=True)

    first = run(str(made.config_path), "report.dpi=50")
    assert first.returncode == 0, first.stderr
    assert "wrote: 13 pictures in" in first.stderr
    assert "macro F1" in first.stdout
    again = run(str(made.run), "report.dpi=50")
    assert "fresh already: 13 pictures" in again.stderr
    assert again.stdout == first.stdout
    (made.run / "predictions_val.npz").unlink()
    missing = run(str(made.run))
    assert missing.returncode == 2
    assert "train first" in missing.stderr
