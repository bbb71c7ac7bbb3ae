"""Progressive unfreezing: a stage moves from its epoch on and not before, and stops and starts change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.contract.store import Store
from pipeline.core.errors import InputError, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.run import RunFolder
from pipeline.train.assemble import assemble
from pipeline.train.checkpoint import Progress
from pipeline.train.config import TrainConfig, UnfreezeConfig
from pipeline.train.engine import Parts, fit
from pipeline.train.stage import train
from pipeline.train.stages import stages
from pipeline.train.unfreezing import Unfreezing
from tests.stopping import StopAt
from tests.train.training import STAGED, Watcher, config, run_of, same, trained, write_small

EPOCHS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("unfreezing") / "store", points=17)


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return Store(folder)


def settings(**more: object) -> TrainConfig:
    unfreeze = {"enabled": True, "epochs": [1, 2, 4]}
    plain = {"epochs": EPOCHS, "batch_size": 48, "model": STAGED, "unfreeze": unfreeze, "schedule": {"name": "none"}}
    return config(**(plain | more))


@dataclass
class Snapshots(Watcher):
    """Keeps all states at the end of each epoch."""

    state: Callable[[], dict[str, Tensor]] = dict
    states: list[dict[str, Tensor]] = field(default_factory=list)

    def epoch(self, progress: Progress, entry: dict[str, float], improved: bool) -> None:
        super().epoch(progress, entry, improved)
        self.states.append({name: value.detach().clone() for name, value in self.state().items()})


def watched(store: Store, chosen: TrainConfig) -> tuple[Parts, list[dict[str, Tensor]]]:
    parts = assemble(chosen, store)
    first = {name: value.detach().clone() for name, value in parts.module.state_dict().items()}
    watcher = Snapshots(state=parts.module.state_dict)
    fit(parts, chosen, Progress(), watcher, watcher.interrupt)
    return parts, [first, *watcher.states]


def moved(states: list[dict[str, Tensor]], epoch: int, names: list[str]) -> list[bool]:
    return [not torch.equal(states[epoch][name], states[epoch - 1][name]) for name in names]


@pytest.mark.parametrize("rest", ["frozen", "last"])
def test_each_stage_moves_from_its_epoch_on_and_not_before(store: Store, rest: str) -> None:
    chosen = settings(unfreeze={"enabled": True, "epochs": [1, 2, 4], "rest": rest})
    parts, states = watched(store, chosen)
    first, second, third, fourth = stages_of(parts.module)
    never = EPOCHS if rest == "frozen" else 4
    for names, start in ((fourth, 1), (third, 2), (second, 4), (first, never)):
        for epoch in range(1, EPOCHS + 1):
            expected = epoch > start
            assert any(moved(states, epoch, names)) == expected, (names[0], epoch)
            if expected:
                assert all(moved(states, epoch, names))
    head = [name for name, _ in parts.module.named_parameters() if name.startswith("head.")]
    for epoch in range(1, EPOCHS + 1):
        assert all(moved(states, epoch, head)), "the head is trained from the start"


def stages_of(module: nn.Module) -> list[list[str]]:
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return stages(module)


def test_statistics_of_frozen_norms_stand_still(store: Store) -> None:
    _parts, states = watched(store, settings())
    start = "encoders.grid.backbone.model."
    for layer, start_epoch in (("layer4.0.bn1", 1), ("layer3.0.bn1", 2), ("layer2.0.bn1", 4), ("layer1.0.bn1", EPOCHS)):
        for epoch in range(1, EPOCHS + 1):
            for name in ("running_mean", "num_batches_tracked"):
                assert moved(states, epoch, [f"{start}{layer}.{name}"]) == [epoch > start_epoch], (layer, epoch)


def test_a_norm_without_weights_follows_what_is_around_it() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False)), nn.Linear(3, 2))
    unfreezing = Unfreezing(UnfreezeConfig(enabled=True, epochs=[2]), net, [["0.0.weight", "0.0.bias"]])
    for epoch, awake in ((0, False), (2, True)):
        net.train()
        unfreezing.apply(epoch)
        assert net[0][1].training is awake


def test_the_state_of_running_groups_goes_on(store: Store) -> None:
    """Moments of the head at the end are those of all steps; those of a stage count from its first."""
    chosen = settings(epochs=3, unfreeze={"enabled": True, "epochs": [1]})
    parts = assemble(chosen, store)
    watcher = Watcher()
    fit(parts, chosen, Progress(), watcher, watcher.interrupt)
    named = dict(parts.module.named_parameters())
    state = parts.optimizer.state
    assert int(state[named["head.0.weight"]]["step"]) == 6
    assert int(state[named["encoders.grid.backbone.model.layer4.0.conv1.weight"]]["step"]) == 4
    assert named["encoders.grid.backbone.model.layer1.0.conv1.weight"] not in state


RESUMED = {"ema": {"decay": 0.9}, "gradients": {"enabled": True}}


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(settings(**RESUMED), folder, tmp_path_factory.mktemp("whole") / "run")[0].path


@pytest.mark.parametrize("stop_after", [1, 3, 9])
def test_stopped_in_any_stage_it_ends_with_the_same_bytes(
    folder: Path, whole: Path, tmp_path: Path, stop_after: int
) -> None:
    """Through files: the parts are assembled anew, as by another process."""
    run = RunFolder(tmp_path / "cut")
    run.begin("x: 1\n")
    with pytest.raises(Interrupted):
        train(settings(**RESUMED), folder, run, StopAt(stop_after))
    train(settings(**RESUMED), folder, run, Interrupt())
    for name in ("model.pt", "predictions_val.npz", "metrics.csv", "gradient_trace.csv"):
        assert (run.path / name).read_bytes() == (whole / name).read_bytes(), name


def test_off_it_changes_nothing(store: Store) -> None:
    plain = config(epochs=1, batch_size=48, model=STAGED)
    off = config(epochs=1, batch_size=48, model=STAGED, unfreeze={"enabled": False, "epochs": [1]})
    assert same(trained(store, plain)[0], trained(store, off)[0])


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"unfreeze": {"enabled": True, "epochs": [1, 2, 3, 4, 4]}}, "5 epochs, but the backbone has 4 stages"),
        ({"unfreeze": {"enabled": True}, "model": {"backbone": "positional"}}, "has 0 stages; choose a backbone"),
    ],
)
def test_more_epochs_than_stages(store: Store, more: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        assemble(settings(**more), store)


def test_a_stage_that_is_never_reached_is_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assemble(settings(epochs=3), store)
    assert "4 not reached in 3 epochs" in caplog.text


def test_epochs_that_fall() -> None:
    with pytest.raises(ValidationError, match="deeper stages come first"):
        UnfreezeConfig(epochs=[3, 2])
