"""Configs written after the guides are stored, trained and judged as they are, by the real command line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Ended
from tests.dialects.configs import POCHI
from tests.dialects.pictures import write_charts, write_photos

EXAMPLES = ROOT / "configs" / "examples"


def run(home: Path, job: str, config: Path, *arguments: str) -> Ended:
    command = [sys.executable, str(ROOT / "jobs" / f"{job}.py"), str(config), *arguments]
    env = {**os.environ, "ISOBAR_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, cwd=ROOT, env=env)
    return Ended(done.returncode, done.stdout + done.stderr)


def trained(home: Path, config: Path, *arguments: str) -> Path:
    """Store and train; return the run folder."""
    for job in ("store", "train"):
        ended = run(home, job, config, *arguments, "train.threads=1")
        assert ended.code == 0, ended.text
    (history,) = [path for path in home.glob("*/*/*/history.json") if not path.parent.is_symlink()]
    return history.parent


PLAIN = "train.export_metrics=false"
"""No pictures, which cost more than these trainings."""


def epochs_of(folder: Path) -> list[dict[str, float | None]]:
    found: list[dict[str, float | None]] = json.loads((folder / "history.json").read_text(encoding="utf-8"))["epochs"]
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_example_trains(tmp_path: Path) -> None:
    write_photos(tmp_path / "data" / "photos")
    folder = trained(tmp_path, EXAMPLES / "pochi_train_config.py", "epochs=2")
    assert folder.parent == tmp_path / "work_dirs" / "pochi_train_config"
    first, second = rows(folder / "metrics.csv")
    # ExponentialLR: the rate of the epoch in which it was used, layer by layer.
    assert float(first["lr_fc"]) == pytest.approx(0.01)
    assert float(second["lr_fc"]) == pytest.approx(0.0095)
    assert float(first["lr_conv1"]) == pytest.approx(0.0001)
    assert float(second["val_accuracy"]) > 0.25
    assert len(rows(folder / "gradient_trace.csv")) == 2
    assert {path.name for path in (folder / "figures").glob("*.png")} >= {"training_loss.png", "layer_wise_lr.png"}


def test_without_validation_it_trains(tmp_path: Path) -> None:
    write_photos(tmp_path / "data", classes=4, train=4)
    config = tmp_path / "plain.py"
    config.write_text(POCHI.replace('"data/val"', "None") + "val_transform = [{'Resize': 40}, 'ToTensor']\n")
    folder = trained(tmp_path, config, "epochs=1", "model_name=simple", PLAIN)
    (only,) = epochs_of(folder)
    assert only["val_loss"] is None


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["single", "multi"])
def test_the_image_classifiers_examples_train(tmp_path: Path, mode: str) -> None:
    write_charts(tmp_path / "data", ("dataset_a", "dataset_b") if mode == "single" else ("dataset_a",))
    epochs = {"single": 2, "multi": 1}[mode]
    folder = trained(tmp_path, EXAMPLES / f"image_classifier_{mode}.yaml", f"max_epochs={epochs}", PLAIN)
    assert folder.parent.name.startswith(f"{mode}_resnet18")
    assert [isinstance(epoch["val_f1"], float) for epoch in epochs_of(folder)] == [True] * epochs
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["status"] == "done"
    assert list((folder / "checkpoints").glob("epoch=*-val_loss=*-val_f1=*.ckpt"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("class_weights = [1.0, 2.0, 1.5]", "クラス重みの長さ(3)がクラス数(4)と一致しません"),
        ("scheduler = 'CustomLR'", "サポートされていないスケジューラー: CustomLR"),
        ("val_transform = None", "transformは必須です. 未設定 (None) の場合はエラーになります"),
        ("enable_layer_wise_lr = True", "層別学習率が有効ですが layer_rates が定義されていません"),
    ],
)
def test_the_guides_messages_on_the_command_line(tmp_path: Path, more: str, message: str) -> None:
    config = tmp_path / "mine.py"
    config.write_text(f"{POCHI}{more}\n", encoding="utf-8")
    ended = run(tmp_path, "train", config)
    assert ended.code == 2
    (line,) = ended.text.splitlines()
    assert line.endswith(f" ERROR {message}")
