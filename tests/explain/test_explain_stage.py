"""The stage as a whole: what is written, that it is written once, goes on where it was, and refuses what is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import InputError, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.explain.config import ExplainConfig
from pipeline.explain.reasoning import class_piece
from pipeline.explain.stage import Explained, explain
from tests.explain.conftest import Trained

SMALL: dict[str, Any] = {"reasoning": {"samples": 3, "steps": 8, "tolerance": 0.05}}

FEW: dict[str, Any] = {"reasoning": SMALL["reasoning"] | {"examples": 0, "cam": "none", "randomized": False}}


def done(trained: Trained, settings: dict[str, Any], mode: Any = "reasoning", run: Path | None = None) -> Explained:
    config = ExplainConfig.model_validate(settings)
    return explain(mode, config, trained.config, run or trained.run, trained.store, Interrupt(), 50)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.fixture(scope="session")
def reasoned(planted: Trained) -> Path:
    return done(planted, SMALL).folder


def test_pictures_numbers_and_arrays_are_written_once(planted: Trained, reasoned: Path) -> None:
    names = set(contents(reasoned))
    wanted = {"00_c0.png", "00_c0_sample1.png", "01_c1.png", "channels.png", "layer.png", "layer_share.png"}
    assert wanted | {"reasoning.json", "attributions.npz", "index.json"} <= names
    assert ".work" not in names
    report = json.loads((reasoned / "reasoning.json").read_text())
    assert report["explained"] == "logit"
    assert report["methods"] == {"grid": "hirescam"}
    assert report["misses_own_predictions_by"] < 1e-5  # float32, other batches
    one = report["classes"]["c0"]
    shares = [share for of in one["share"].values() for share in of.values()]
    assert sum(shares) == pytest.approx(1, abs=1e-9)
    added = sum(value for of in one["adds_to_logit"].values() for value in of.values())
    assert added == pytest.approx(one["logit_difference"], rel=0.06)  # the tolerance of the path
    layer = report["layer"]
    assert (layer["present"], layer["units"]) == (True, 8)
    assert layer["auxiliary"]["c0"]["right"] <= layer["auxiliary"]["c0"]["said"]
    arrays = np.load(reasoned / "attributions.npz")
    assert arrays["mean/grid"].shape == (2, 3, 16, 16)
    assert arrays["cam/grid"].shape == (2, 16, 16)
    assert done(planted, SMALL).fresh


def copied(planted: Trained, to: Path) -> Path:
    """Return a copy of the run that nobody has explained yet."""
    shutil.copytree(planted.run, to, ignore=shutil.ignore_patterns("explain"))
    return to


@pytest.mark.slow
def test_a_second_time_nothing_is_done_and_other_settings_are(planted: Trained, tmp_path: Path) -> None:
    run = copied(planted, tmp_path / "run")
    first = done(planted, FEW, run=run)
    before = contents(first.folder)
    assert (first.fresh, done(planted, FEW, run=run).fresh) == (False, True)
    other = done(planted, {"reasoning": FEW["reasoning"] | {"classes": ["c1"]}}, run=run)
    assert not other.fresh
    assert not (other.folder / "00_c0.png").exists()
    assert (other.folder / "01_c1.png").exists()
    assert contents(done(planted, FEW, run=run).folder) == before


def test_a_stopped_explanation_goes_on(planted: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(subject: Any, settings: Any, k: int) -> Any:
        made.append(k)
        return class_piece(subject, settings, k)

    monkeypatch.setattr("pipeline.explain.looked.class_piece", counted)
    run, config = copied(planted, tmp_path / "run"), ExplainConfig.model_validate(FEW)
    pieces = run / "explain" / "reasoning" / ".work"
    for told, expected in (("1 of 2 classes", [0]), ("1 of 2 classes", [0])):
        interrupt = Interrupt()
        interrupt.limit(0)
        with pytest.raises(Interrupted, match=told):
            explain("reasoning", config, planted.config, run, planted.store, interrupt, 50)
        assert made == expected
    piece = pieces / "class0.npz"
    whole = piece.read_bytes()
    piece.write_bytes(whole[:1000])
    done(planted, FEW, run=run)
    assert made == [0, 0, 1]  # the damaged one again, and the one that was missing
    assert not pieces.exists()
    straight = done(planted, FEW, run=copied(planted, tmp_path / "straight"))
    assert contents(run / "explain" / "reasoning") == contents(straight.folder)


def test_images_and_series(pictured: Trained) -> None:
    folder = done(pictured, {"reasoning": SMALL["reasoning"] | {"classes": ["c0"]}}).folder
    names = set(contents(folder))
    assert {"00_c0_image.png", "00_c0_series.png", "attention_series.png"} <= names
    report = json.loads((folder / "reasoning.json").read_text())
    assert report["explained"] == "logit minus mean logit"
    assert report["methods"] == {"image": "gradcam"}
    assert report["layer"]["present"] is False
    assert "reasoning_dim" in report["layer"]["why"]
    feature = {"feature": {"repeats": 2, "projection": "none", "samples": 60}}
    assert len(done(pictured, feature, "feature").files) == 4


@pytest.mark.parametrize(
    ("mode", "settings", "message"),
    [
        ("reasoning", {"reasoning": {"classes": ["c7"]}}, r"explain\.reasoning\.classes: 'c7' is not a class"),
        (
            "feature",
            {"feature": {"groups": {"x": ["gird0"]}}},
            r"groups\.x: 'gird0' is not read .*did you mean 'grid0'",
        ),
        ("feature", {"feature": {"groups": {"grid0": ["grid1"]}}}, "'grid0' is the name of a channel"),
        ("feature", {"feature": {"projection": "none", "importance": False}}, "nothing to do"),
    ],
)
def test_wrong_settings_are_told(planted: Trained, mode: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as told:
        done(planted, settings, mode)
    assert "\n" not in str(told.value)


def test_another_store_and_an_unfinished_run_are_refused(planted: Trained, pictured: Trained, tmp_path: Path) -> None:
    other = Trained(planted.config, planted.run, pictured.store)
    with pytest.raises(InputError, match="run"):
        done(other, SMALL)
    empty = tmp_path / "run"
    empty.mkdir()
    with pytest.raises(InputError, match="its training is not finished"):
        done(planted, SMALL, run=empty)
