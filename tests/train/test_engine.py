"""The loop: it learns, it resumes at the exact step, and each option does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
import torch

from pipeline.contract.store import Store
from pipeline.core.errors import Interrupted, IsobarError
from pipeline.synthetic.store import blobs, write_store
from pipeline.train.assemble import assemble
from pipeline.train.batches import Batch
from pipeline.train.checkpoint import Progress
from pipeline.train.engine import fit, micro_batches, step_seed, steps_of
from pipeline.train.metrics import is_better
from tests.train.training import Watcher, config, same, trained


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    grid, target = blobs(160, 2, 9, 3, noise=0.5)
    return Store(write_store(tmp_path_factory.mktemp("engine") / "store", grid, target))


def test_it_learns(store: Store) -> None:
    _, watcher, progress = trained(store, config(epochs=15, optimizer={"lr": 3e-3}))
    assert progress.finished
    assert progress.epoch == 15
    # Without learning, the macro AP is the share of positives, 0.35.
    assert max(entry["val_map"] for entry in watcher.entries) > 0.8
    best = max(range(15), key=lambda n: watcher.entries[n]["val_map"])
    assert progress.best_epoch == best + 1
    assert watcher.improved[best]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(store: Store) -> None:
    first, second, other = (trained(store, config(seed=seed))[0] for seed in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize("stop_after", [1, 5, 6, 7, 13])
def test_stopped_at_any_step_it_ends_with_the_same_weights(store: Store, stop_after: int) -> None:
    settings = config(ema={"decay": 0.9}, augment={"shift": 1, "noise": 0.1, "mixup": 0.2})
    whole, watched, _ = trained(store, settings)
    parts, watcher, progress = assemble(settings, store), Watcher(stop_after=stop_after), Progress()
    with pytest.raises(Interrupted, match="stopped by test"):
        fit(parts, settings, progress, watcher, watcher.interrupt)
    assert watcher.saved
    watcher.interrupt.reason = None
    fit(parts, settings, progress, watcher, watcher.interrupt)
    assert same(parts.module.state_dict(), whole)
    for left, right in zip(watcher.entries, watched.entries, strict=True):
        assert {**left, "seconds": 0} == {**right, "seconds": 0}


def test_micro_batches_give_the_gradient_of_the_whole_batch(store: Store) -> None:
    quiet = {"backbone": "simple", "hidden": 16, "dropout": 0, "head_dropout": 0}
    sgd = {"name": "sgd", "lr": 0.1}
    one = trained(store, config(model=quiet, optimizer=sgd, epochs=1))[0]
    four = trained(store, config(model=quiet, optimizer=sgd, epochs=1, accumulate=4))[0]
    for name in one:
        # Sums of 16 gradients in another order: float32 rounding over six steps.
        torch.testing.assert_close(four[name], one[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16"},
        {"channels_last": False},
        {"clip_norm": 0.01},
        {"sampler": "weighted"},
        {"loss": {"kind": "bce", "pos_weight": True}},
        {"loss": {"kind": "asymmetric"}},
        {"schedule": {"name": "onecycle"}},
        {"schedule": {"name": "cosine", "warmup_epochs": 1}},
        {"ema": {"decay": 0.9}},
        {"optimizer": {"name": "sgd", "lr": 0.05}},
        {"augment": {"smooth_noise": 0.5}},
        {"model": {"coordinates": True, "hidden": 16}},
    ],
    ids=str,
)
def test_an_option_changes_the_outcome_and_stays_finite(store: Store, options: dict[str, object]) -> None:
    plain, usual, _ = trained(store, config(epochs=2))
    changed, watcher, _ = trained(store, config(epochs=2, **options))
    assert all(np.isfinite(entry["train_loss"]) for entry in watcher.entries)
    # Averaging (EMA) leaves the raw weights as they are and shows in validation.
    assert not same(plain, changed) or usual.entries[1]["val_loss"] != watcher.entries[1]["val_loss"]


def test_streaming_from_disk_trains_the_same_weights(store: Store) -> None:
    assert same(trained(store, config(memory_gb=1e-9))[0], trained(store, config())[0])


def test_early_stopping(store: Store) -> None:
    settings = config(epochs=50, optimizer={"lr": 1e-9}, early_stopping={"patience": 3, "min_delta": 0.5})
    _, watcher, progress = trained(store, settings)
    # The first epoch is a gain over nothing; three epochs without one end the run.
    assert len(watcher.entries) == 4
    assert progress.finished


def test_a_loss_that_is_not_finite_ends_the_run_and_says_what_to_do(store: Store) -> None:
    wild = config(optimizer={"name": "sgd", "lr": 1e30}, model={"dropout": 0})
    with pytest.raises(IsobarError, match=r"lower train\.optimizer\.lr"):
        trained(store, wild)


def test_time_limit_stops_at_a_step(store: Store) -> None:
    parts, watcher, progress = assemble(config(), store), Watcher(), Progress()
    watcher.interrupt.limit(0)
    with pytest.raises(Interrupted, match="max_time"):
        fit(parts, config(), progress, watcher, watcher.interrupt)
    assert watcher.saved == [(0, 1)]


def test_stopped_in_validation_with_averaged_weights(store: Store) -> None:
    """The checkpoint holds the trained weights, not the average that stood in for them."""
    settings = config(ema={"decay": 0.9})
    whole, watched, _ = trained(store, settings)
    parts, watcher, progress = assemble(settings, store), Watcher(), Progress()
    batches = parts.val.batches

    def signalled(rows: list[np.ndarray]) -> Iterator[Batch]:
        watcher.interrupt.reason = "SIGTERM" if not watcher.saved else None
        yield from batches(rows)

    parts.val.batches = signalled  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match="its validation comes next"):
        fit(parts, settings, progress, watcher, watcher.interrupt)
    assert watcher.saved == [(0, 6)]
    watcher.interrupt.reason = None
    fit(parts, settings, progress, watcher, watcher.interrupt)
    assert same(parts.module.state_dict(), whole)
    assert watcher.entries[0]["val_loss"] == watched.entries[0]["val_loss"]


def test_a_time_limit_lets_validation_through(store: Store) -> None:
    """Typed again and again with a limit shorter than a step, the run still comes to its end."""
    settings = config(epochs=1, batch_size=96)
    parts, watcher, progress = assemble(settings, store), Watcher(), Progress()
    for _ in range(3):
        if progress.finished:
            break
        watcher.interrupt.reason = None
        watcher.interrupt.limit(0)
        with suppress(Interrupted):
            fit(parts, settings, progress, watcher, watcher.interrupt)
    assert progress.finished


def test_a_single_sample_left_over_joins_the_last_batch() -> None:
    assert [len(step) for step in steps_of(np.arange(33), 16)] == [16, 17]
    assert [len(step) for step in steps_of(np.arange(34), 16)] == [16, 16, 2]
    assert [len(step) for step in steps_of(np.arange(1), 16)] == [1]
    assert [len(part) for part in micro_batches(np.arange(5), 4)] == [3, 2]
    assert np.concatenate(steps_of(np.arange(33), 16)).tolist() == list(range(33))


def test_last_keeps_every_epoch_and_watches_the_validation_loss(store: Store) -> None:
    _, watcher, progress = trained(store, config(select="last"))
    assert watcher.improved == [True, True, True]
    assert progress.best_epoch == 3
    assert progress.stop_value == min(entry["val_loss"] for entry in watcher.entries)


def test_better() -> None:
    assert is_better("val_map", 0.5, None)
    assert is_better("val_map", 0.6, 0.5)
    assert not is_better("val_map", 0.5, 0.5)
    assert is_better("val_loss", 0.4, 0.5)
    assert is_better("val_map", 0.75, 0.5, 0.25)
    assert not is_better("val_map", 0.74, 0.5, 0.25)
    assert not is_better("val_map", float("nan"), 0.5)


def test_seeds_of_steps_differ() -> None:
    seeds = {step_seed(seed, epoch, step) for seed in range(5) for epoch in range(10) for step in range(20)}
    assert len(seeds) == 1000
