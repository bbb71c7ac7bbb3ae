"""What a run leaves behind: checkpoints, tables, facts, pictures; and what it refuses."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from pipeline.contract.store import Store
from pipeline.core.errors import InputError
from pipeline.train.assemble import assemble
from pipeline.train.checkpoint import load_tensors
from pipeline.train.config import TrainConfig
from pipeline.train.history import write_metrics
from tests.train.training import STAGED, config, run_of, write_small

NAME = r"epoch=\d{5}-val_loss=\d+\.\d{4}-val_f1=\d\.\d{4}\.ckpt"
NO_VAL = {"select": "last", "schedule": {"name": "none"}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("stage") / "store", "single_label")


@pytest.fixture(scope="module")
def without_val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("stage") / "store", "single_label", shares=(0.8, 0.0, 0.2))


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("keep", [1, 3])
def test_the_best_epochs_keep_a_checkpoint(store: Path, tmp_path: Path, keep: int) -> None:
    settings = config(epochs=5, select="val_loss", keep_checkpoints=keep, optimizer={"lr": 3e-3})
    run, progress = run_of(settings, store, tmp_path / "run")
    found = sorted(path.name for path in (run.path / "checkpoints").glob("epoch=*"))
    assert len(found) == keep
    assert all(re.fullmatch(NAME, name) for name in found)
    best = sorted(progress.history, key=lambda entry: entry["val_loss"])[:keep]
    assert [int(name[6:11]) for name in found] == sorted(int(entry["epoch"]) for entry in best)
    for name in found:
        assert load_tensors(run.path / "checkpoints" / name)["progress"]["epoch"] == int(name[6:11])
    assert (run.path / "checkpoints" / "last.ckpt").exists()


def test_metrics_of_every_epoch(store: Path, tmp_path: Path) -> None:
    steps = {"name": "step", "step_size": 1, "gamma": 0.5}
    settings = config(epochs=3, schedule=steps, optimizer={"lr": 0.01})
    run, progress = run_of(settings, store, tmp_path / "run")
    rows = table(run.path / "metrics.csv")
    assert list(rows[0])[:7] == [
        "epoch",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "val_f1",
    ]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    # The rate used in the epoch, not that of the next one.
    assert [float(row["learning_rate"]) for row in rows] == [0.01, 0.005, 0.0025]
    for row, entry in zip(rows, progress.history, strict=True):
        assert {name: float(row[name]) for name in row if name in entry} == {
            name: entry[name] for name in row if name in entry
        }
    assert "seconds" not in rows[0]


def test_metrics_of_groups(store: Path, tmp_path: Path) -> None:
    """The column ``learning_rate`` stays at the configured value, the groups have columns of their own."""
    rates = {"by": "layers", "layer_rates": {"layers": 1e-4, "fc": 1e-2}}
    steps = {"name": "step", "step_size": 1, "gamma": 0.5}
    run, _ = run_of(config(epochs=2, rates=rates, schedule=steps), store, tmp_path / "run")
    rows = table(run.path / "metrics.csv")
    assert [row["learning_rate"] for row in rows] == ["0.001", "0.001"]
    assert [float(row["lr_layers"]) for row in rows] == [1e-4, 5e-5]
    assert [float(row["lr_fc"]) for row in rows] == [1e-2, 5e-3]


def test_metrics_that_nobody_wants_are_not_written(store: Path, tmp_path: Path) -> None:
    drawn: list[Path] = []
    run, _ = run_of(config(epochs=1, export_metrics=False), store, tmp_path / "run", drawn.append)
    assert not drawn
    assert not (run.path / "metrics.csv").exists()
    assert (run.path / "history.json").exists()


def test_numbers_are_read_back_exactly_and_missing_ones_are_empty(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"epoch": 1, "lr": 0.1, "train_loss": 1 / 3, "val_loss": float("nan")}], None)
    row = table(tmp_path / "metrics.csv")[0]
    assert float(row["train_loss"]) == 1 / 3
    assert row["val_loss"] == ""
    assert "val_accuracy" not in row, "what is never measured has no column"


def test_pictures_are_drawn_when_the_files_of_the_epoch_are_there(store: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def draw(folder: Path) -> None:
        seen.append(len(table(folder / "metrics.csv")))
        assert len(json.loads((folder / "history.json").read_text())["epochs"]) == seen[-1]

    run_of(config(epochs=3), store, tmp_path / "run", draw)
    assert seen[0] == 1
    assert seen[-1] == 3


def test_a_picture_that_fails_does_not_end_the_training(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(folder: Path) -> None:
        raise ValueError("no glyph")

    _, progress = run_of(config(epochs=2), store, tmp_path / "run", fail)
    assert progress.finished
    assert "no glyph" in (tmp_path / "run" / "train.log").read_text()


def test_facts_of_the_model(store: Path, tmp_path: Path) -> None:
    unfreeze = {"enabled": True, "epochs": [0, 1]}
    settings = config(epochs=2, batch_size=48, model=STAGED, unfreeze=unfreeze, rates={"by": "stages"})
    run, _ = run_of(settings, store, tmp_path / "run")
    facts = json.loads((run.path / "run.json").read_text())["model"]
    module = assemble(settings, Store(store)).module
    sizes = {name: value.numel() for name, value in module.named_parameters()}
    layers = ("conv1", "bn1", "layer1", "layer2")
    frozen = sum(
        size
        for name, size in sizes.items()
        if name.startswith(tuple(f"encoders.grid.backbone.model.{x}" for x in layers))
    )
    assert facts["parameters"] == {"trained": sum(sizes.values()) - frozen, "frozen": frozen}
    assert facts["rates"]["head"] == 3e-4
    assert (facts["backbone"], facts["fallback"]) == ("resnet10t", False)
    assert "start_from" not in facts


def test_without_validation_the_last_epoch_is_kept(without_val: Path, tmp_path: Path) -> None:
    run, progress = run_of(config(epochs=2, **NO_VAL), without_val, tmp_path / "run")
    assert progress.best_epoch == 2
    rows = table(run.path / "metrics.csv")
    assert [(row["val_loss"], row["val_f1"]) for row in rows] == [("", "")] * 2
    assert float(rows[1]["train_accuracy"]) > 0
    assert not (run.path / "predictions_val.npz").exists()
    assert (run.path / "predictions_test.npz").exists()
    names = [path.name for path in (run.path / "checkpoints").glob("epoch=*")]
    assert len(names) == 1
    assert re.fullmatch(r"epoch=00002-train_loss=\d+\.\d{4}\.ckpt", names[0])
    assert json.loads((run.path / "history.json").read_text())["epochs"][0]["val_loss"] is None


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"select": "val_map", "schedule": {"name": "none"}}, r"train\.select=val_map follows validation"),
        ({"select": "last"}, r"train\.schedule\.name=plateau follows validation"),
        ({**NO_VAL, "early_stopping": {"patience": 3}}, r"train\.early_stopping\.patience follows validation"),
    ],
)
def test_what_needs_validation_is_refused_without_it(without_val: Path, more: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        assemble(config(**more), Store(without_val))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "ours"),
    [("32-true", "32"), ("bf16-mixed", "bf16"), (32, "32"), ("16-mixed", "16-mixed"), ("fp16", "fp16")],
)
def test_names_of_precision(given: object, ours: str) -> None:
    assert config(precision=given).precision == ours


def test_the_guides_half_precision_on_a_cpu_computes_in_32_and_says_so(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = assemble(config(precision="16-mixed"), Store(store))
    assert "16-mixed needs a CUDA device" in caplog.text
    assert parts.fabric.strategy.precision.precision == "32-true"


def test_settings_of_the_guides_leave_signatures_as_they_were() -> None:
    """A run of maps that asks for none of the later settings is found by the same signature."""
    from pipeline.core.config import signature

    later = {
        "rates",
        "unfreeze",
        "agc",
        "start_head",
        "start_from",
        "resume",
        "keep_checkpoints",
        "gradients",
        "cudnn_benchmark",
    }
    found = signature(TrainConfig())
    assert not later & set(found)
    assert not {"start", "eta_min", "length", "each"} & set(found["schedule"])
    assert not {"nesterov"} & set(found["optimizer"])
    assert not {"monitor"} & set(found["early_stopping"])
    asked = signature(TrainConfig.model_validate({"agc": {"enabled": True}, "rates": {"by": "stages"}}))
    assert asked["agc"]["enabled"] is True
    assert asked["rates"]["by"] == "stages"
