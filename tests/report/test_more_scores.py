"""Pictures and tables of parts and thresholds, and the matrix with every option in Japanese."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps, font_manager
from matplotlib.colors import to_rgb
from sklearn.metrics import f1_score, precision_score, recall_score

from pipeline.evaluate.config import EvaluateConfig
from pipeline.evaluate.stage import evaluate
from pipeline.report import style
from pipeline.report.case import load_case
from pipeline.report.config import ConfusionConfig
from pipeline.report.confusion import readable_on
from pipeline.report.matrix import confusion_matrix
from pipeline.report.subscores import subscore_dots, subscore_table
from pipeline.report.threshold_curves import curve_of, threshold_curves
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.stage import fit_thresholds
from tests.evaluate.made_up_run import MadeUp, make


def finished(home: Path, monkeypatch: pytest.MonkeyPatch, **more) -> MadeUp:
    monkeypatch.setenv("ISOBAR_HOME", str(home))
    made = make(home, **{"classes": ("A", "B", "C", "D"), "days_a_year": 90, **more})
    fit_thresholds(ThresholdsConfig(), made.run)
    evaluate(EvaluateConfig(bootstrap=30), made.run, made.store)
    return made


def test_curves_are_the_scores_of_sklearn_at_each_threshold():
    rng = np.random.default_rng(0)
    target, p = rng.random(80) < 0.3, np.round(rng.random(80), 1)  # rounded: ties
    curve = curve_of(target, p)
    assert (np.diff(curve.threshold) > 0).all()
    for n, threshold in enumerate(curve.threshold):
        said = p >= threshold
        expected = [score(target, said) for score in (precision_score, recall_score, f1_score)]
        assert [curve.precision[n], curve.recall[n], curve.f1[n]] == pytest.approx(expected)


def test_the_chosen_threshold_lies_on_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = finished(tmp_path, monkeypatch, rare=(3,), absent=(3,))
    case = load_case(made.run, "test")
    figure = threshold_curves(case, 4)
    for k in range(3):
        axis, threshold = figure.axes[k], case.decisions.thresholds[k]
        (dot,) = [line for line in axis.lines if line.get_marker() == "o"]
        assert dot.get_xdata()[0] == threshold
        assert dot.get_ydata()[0] == pytest.approx(f1_score(case.target[:, k], case.probability[:, k] >= threshold))
    assert any(text.get_text() == "does not occur" for text in figure.axes[3].texts)


def test_parts_are_drawn_with_the_numbers_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = finished(tmp_path, monkeypatch, days_a_year=366)
    case = load_case(made.run, "test")
    axis = subscore_dots(case).axes[0]
    parts = [part for of in case.report["subscores"].values() for part in of.values()]
    assert len(axis.get_yticks()) == len(parts) == 4 + 3 + 1 + 3
    drawn = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"]
    assert drawn == pytest.approx([part[key] for part in parts for key in ("macro_f1", "map")])
    assert subscore_table(case).row_count == len(parts)


def test_a_run_without_dates_has_neither_seasons_nor_years(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = finished(tmp_path, monkeypatch, single=True, dated=False)
    case = load_case(made.run, "test")
    assert list(case.report["subscores"]) == ["kind", "class_size"]
    assert len(subscore_dots(case).axes[0].get_yticks()) == 1 + 3
    assert threshold_curves(case, 5).axes[0].lines


@pytest.mark.parametrize("name", ["Blues", "viridis", "inferno", "Greys", "RdPu", "coolwarm"])
def test_numbers_stand_out_on_every_colour_of_any_map(name: str):
    """Contrast by WCAG 2.1: at least 4.5 to 1 is asked of text, 3 to 1 of large text such as these numbers."""

    def luminance(colour: tuple[float, ...]) -> float:
        channels = np.asarray(colour)
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ np.array([0.2126, 0.7152, 0.0722]))

    for share in np.linspace(0, 1, 101):
        background = colormaps[name](share)[:3]
        bright, dark = sorted([luminance(background), luminance(to_rgb(readable_on(background)))], reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3.9, share


def test_a_font_that_was_installed_since_matplotlib_made_its_list_is_found(monkeypatch: pytest.MonkeyPatch):
    name = style._japanese_font()
    if name is None:
        pytest.skip("no Japanese font is installed")
    every = font_manager.fontManager.ttflist
    files = {entry.fname for entry in every if entry.name in style._CJK}
    listed = [entry for entry in every if entry.fname not in files]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", listed)
    assert style._first_installed() is None
    assert style._japanese_font() == name


JAPANESE = ConfusionConfig(
    title="混同行列", xlabel="予測ラベル", ylabel="正解ラベル", fontsize=10, figsize=(6.5, 5), cmap="Greens"
)


def test_japanese_texts_are_drawn_with_a_font_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    if style._japanese_font() is None:
        pytest.skip("no Japanese font is installed")
    names = ("西高東低", "移動性高気圧", "台風")
    made = finished(tmp_path, monkeypatch, classes=names, single=True)
    case = load_case(made.run, "test")

    def drawn(name: str) -> bytes:
        with style.look([*names, JAPANESE.title]):
            style.save(confusion_matrix(case, JAPANESE), tmp_path / name, 60)
        return (tmp_path / name).read_bytes()

    first = drawn("with.png")
    assert "Japanese font" not in caplog.text
    monkeypatch.setattr(style, "_CJK", ("No Such Font",))
    assert drawn("without.png") != first, "boxes instead of characters"
    assert "no Japanese font is installed" in caplog.text
