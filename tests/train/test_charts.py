"""Images and series through the loop: it learns, resumes at the exact step, and each option has its effect."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.contract.store import Store
from pipeline.core.errors import Interrupted
from pipeline.train.assemble import assemble
from pipeline.train.checkpoint import Progress
from pipeline.train.config import TrainConfig
from pipeline.train.engine import fit
from tests.train.stores import marked_images, write_images
from tests.train.training import Watcher, trained

CLASSES = 3
TRANSFORMS = [
    {"RandomCrop": {"size": 24, "padding": 2}},
    {"ColorJitter": {"brightness": 0.2, "hue": 0.1}},
    {"RandomRotation": 5},
    {"RandomErasing": {"p": 0.3}},
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    images, label = marked_images(150, CLASSES, 24)
    series = np.random.default_rng(1).standard_normal((150, 6, 2)).astype(np.float32)
    series[:, -1, 0] += 3.0 * (label - 1)
    series[:10, :4] = np.nan
    return write_images(tmp_path_factory.mktemp("charts") / "store", images, label, series)


def config(**more: Any) -> TrainConfig:
    model = {"backbone": "simple", "hidden": 16, "series": {"dim": 16, "heads": 2, "feedforward": 32}}
    plain = {"epochs": 2, "batch_size": 16, "threads": 1, "device": "cpu", "model": model | more.pop("model", {})}
    return TrainConfig.model_validate(plain | {"optimizer": {"lr": 3e-3}} | more)


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("inputs", "least"),
    [(["image"], 0.9), (["series"], 0.9), (["image", "series"], 0.9)],
    ids=["image", "series", "both"],
)
def test_it_learns(store: Store, inputs: list[str], least: float) -> None:
    settings = config(inputs=inputs, epochs=12, select="val_f1", model={"pooling": "grid", "dropout": 0})
    _, watcher, _ = trained(store, settings)
    # Three classes in equal shares: chance is a third.
    assert max(entry["val_f1"] for entry in watcher.entries) >= least


EVERYTHING: dict[str, Any] = {
    "augment": {"transforms": TRANSFORMS, "mixup": 0.2},
    "model": {"fusion": "cross_attention", "modality_dropout": 0.3, "reasoning_dim": 8, "aux_loss_weight": 0.3},
    "loss": {"label_smoothing": 0.1},
}


@pytest.mark.parametrize("stop_after", [1, 6, 9])
def test_stopped_at_any_step_it_ends_with_the_same_weights(store: Store, stop_after: int) -> None:
    settings = config(**EVERYTHING)
    whole, watched, _ = trained(store, settings)
    parts, watcher, progress = assemble(settings, store), Watcher(stop_after=stop_after), Progress()
    with pytest.raises(Interrupted):
        fit(parts, settings, progress, watcher, watcher.interrupt)
    watcher.interrupt.reason = None
    fit(parts, settings, progress, watcher, watcher.interrupt)
    assert same(parts.module.state_dict(), whole)
    assert [entry["val_loss"] for entry in watcher.entries] == [entry["val_loss"] for entry in watched.entries]


@pytest.mark.parametrize(
    "options",
    [
        {"augment": {"transforms": TRANSFORMS}},
        {"augment": {"mixup": 0.4}},
        {"inputs": ["image"], "augment": {"cutmix": 1.0}},
        {"model": {"transforms": [{"CenterCrop": 16}]}},
        {"model": {"normalize": "dataset"}},
        {"model": {"reasoning_dim": 8}},
        {"model": {"reasoning_dim": 8, "aux_loss_weight": 0.5}},
        {"model": {"fusion": "cross_attention"}},
        {"model": {"modality_dropout": 0.5}},
        {"model": {"series": {"dim": 16, "heads": 2, "feedforward": 32, "output": "mean"}}},
        {"model": {"series": {"dim": 16, "heads": 2, "feedforward": 32, "dropout": 0.5}}},
        {"loss": {"kind": "focal"}},
        {"loss": {"class_weights": [1.0, 2.0, 5.0]}},
        {"loss": {"class_weights": "uniform"}},
        {"loss": {"label_smoothing": 0.1}},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_an_option_changes_the_outcome_and_stays_finite(store: Store, options: dict[str, Any]) -> None:
    inputs = {"inputs": options.get("inputs", ["image", "series"]), "epochs": 1}
    plain, _, _ = trained(store, config(**inputs))
    changed, watcher, _ = trained(store, config(**{**inputs, **options}))
    assert all(np.isfinite(entry["train_loss"]) for entry in watcher.entries)
    assert not same(plain, changed)


QUIET = {"dropout": 0, "head_dropout": 0}
SGD = {"name": "sgd", "lr": 0.05}


def test_streaming_and_layout_change_nothing(store: Store) -> None:
    settings = config(
        inputs=["image"], model=QUIET, augment={"transforms": TRANSFORMS}, optimizer=SGD, epochs=1, accumulate=2
    )
    resident = trained(store, settings)[0]
    assert same(trained(store, settings.model_copy(update={"memory_gb": 1e-9}))[0], resident)
    plain = trained(store, settings.model_copy(update={"channels_last": False}))[0]
    for name, value in resident.items():
        # Other kernels sum in another order: float32 rounding over six steps.
        torch.testing.assert_close(plain[name], value, rtol=1e-4, atol=1e-5)


def test_transforms_do_not_depend_on_micro_batches(store: Store) -> None:
    """With dropout off and no batch norm the gradient is that of the whole batch, transforms and all."""
    settings = config(
        inputs=["image"],
        model=QUIET,
        augment={"transforms": TRANSFORMS},
        optimizer=SGD,
        epochs=1,
    )
    one = trained(store, settings)[0]
    four = trained(store, settings.model_copy(update={"accumulate": 4}))[0]
    for name in one:
        # Sums of 16 gradients in another order: float32 rounding over six steps.
        torch.testing.assert_close(four[name], one[name], rtol=1e-4, atol=1e-5)


def test_a_saved_config_with_transforms_is_read_again(store: Store, tmp_path: Path) -> None:
    from pipeline.core.config import dump, load, signature

    path = tmp_path / "config.yaml"
    path.write_text(dump(config(augment={"transforms": TRANSFORMS})))
    again = load(path, TrainConfig).config
    assert signature(again) == signature(config(augment={"transforms": TRANSFORMS}))
    path.write_text("augment:\n  transforms:\n    - Resize: {size: 9}\n    - RandomInvrt\n")
    from pipeline.core.errors import InputError

    with pytest.raises(
        InputError, match=r"config\.yaml:2: augment\.transforms: unknown transform 'RandomInvrt'; did you"
    ):
        load(path, TrainConfig)
