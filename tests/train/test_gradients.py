"""The gradient trace: norms of the whole epoch, by block, in a table without doubled rows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from pipeline.contract.store import Store
from pipeline.core.errors import InputError
from pipeline.train.assemble import assemble
from pipeline.train.checkpoint import Progress
from pipeline.train.config import GradientsConfig
from pipeline.train.engine import fit
from pipeline.train.gradients import GradientTrace, block
from tests.train.training import STAGED, Watcher, config, run_of, same, trained, write_small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("gradients") / "store", points=17)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def rows_after(trace: GradientTrace, model: nn.Module, steps: int) -> list[dict[str, float]]:
    """Do ``steps`` backward passes and return each parameter's norm in each."""
    found = []
    for step in range(steps):
        model.zero_grad()
        model(torch.randn(5, 3, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        trace.record()
        found.append({name: float(value.grad.norm()) for name, value in model.named_parameters()})
    return found


def test_the_mean_over_all_steps_of_the_epoch() -> None:
    model = net()
    trace = GradientTrace(GradientsConfig(enabled=True, group_by_block=False, exclude_patterns=[]), model)
    trace.begin(0, 0)
    norms = rows_after(trace, model, 7)
    row = trace.row(1)
    assert row is not None
    for name, _ in model.named_parameters():
        # float32 norms.
        assert row[name] == pytest.approx(np.mean([step[name] for step in norms]), rel=1e-6)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("median", np.median), ("mean", np.mean), ("max", np.max), ("rms", lambda v: np.sqrt(np.mean(v**2)))],
)
def test_aggregation(method: str, expected: object) -> None:
    model = nn.ModuleDict({"a1": net(), "b1": net()})
    trace = GradientTrace(GradientsConfig(enabled=True, aggregation_method=method, exclude_patterns=[r"\.bias"]), model)
    trace.begin(0, 0)
    for part in model.values():
        part(torch.randn(5, 3, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    trace.record()
    values = np.array(
        [float(value.grad.norm()) for name, value in model["a1"].named_parameters() if "bias" not in name]
    )
    row = trace.row(1)
    assert row is not None
    assert set(row) == {"epoch", "a1", "b1"}
    assert row["a1"] == pytest.approx(expected(values), rel=1e-6)  # type: ignore[operator]


def test_an_infinite_gradient_and_a_frozen_parameter_are_left_out() -> None:
    model = net()
    trace = GradientTrace(GradientsConfig(enabled=True, group_by_block=False, exclude_patterns=[]), model)
    trace.begin(0, 0)
    norms = rows_after(trace, model, 2)
    model[0].weight.grad = torch.full_like(model[0].weight, float("inf"))
    model[2].weight.grad = None
    trace.record()
    row = trace.row(1)
    assert row is not None
    for name in ("0.weight", "2.weight"):
        assert row[name] == pytest.approx(np.mean([step[name] for step in norms]), rel=1e-6)
    trace.begin(1, 0)
    assert np.isnan(trace.row(2)["0.weight"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layer1.0.conv1.weight", "layer1"),
        ("conv1.weight", "conv1"),
        ("stages.2.blocks.0.mlp.weight", "stages.2"),
        ("blocks.11.norm1.weight", "blocks.11"),
        ("head.0.weight", "head"),
        ("cls_token", "cls_token"),
        ("s1.b1.conv1.weight", "s1"),
    ],
)
def test_blocks(name: str, expected: str) -> None:
    assert block(name) == expected


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("frequency", "epochs"), [(1, ["1", "2", "3"]), (2, ["2"])])
def test_the_table_of_a_run(folder: Path, tmp_path: Path, frequency: int, epochs: list[str]) -> None:
    settings = config(epochs=3, batch_size=48, model=STAGED, gradients={"enabled": True, "record_frequency": frequency})
    run, _ = run_of(settings, folder, tmp_path / "run")
    rows = table(run.path / "gradient_trace.csv")
    assert [row["epoch"] for row in rows] == epochs
    assert list(rows[0]) == ["epoch", "conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], "head and biases are out"
    assert all(float(value) > 0 for row in rows for value in row.values())


def test_frozen_blocks_have_empty_cells(folder: Path, tmp_path: Path) -> None:
    settings = config(
        epochs=2, batch_size=48, model=STAGED, gradients={"enabled": True}, unfreeze={"enabled": True, "epochs": [1]}
    )
    run, _ = run_of(settings, folder, tmp_path / "run")
    first, second = table(run.path / "gradient_trace.csv")
    assert (first["layer4"], second["layer3"]) == ("", "")
    assert float(second["layer4"]) > 0


def test_tracing_changes_no_weight_and_comes_before_clipping(folder: Path) -> None:
    store = Store(folder)
    plain = config(epochs=1, batch_size=48, model=STAGED, clip_norm=1e-6)
    traced = config(epochs=1, batch_size=48, model=STAGED, clip_norm=1e-6, gradients={"enabled": True})
    assert same(trained(store, plain)[0], trained(store, traced)[0])
    parts, progress, watcher = assemble(traced, store), Progress(), Watcher()
    fit(parts, traced, progress, watcher, watcher.interrupt)
    assert progress.gradients[0]["layer4"] > 1e-4


@pytest.mark.parametrize("patterns", [["fc("], ["ok", "*"]])
def test_a_bad_expression_is_an_error_at_the_start(patterns: list[str]) -> None:
    with pytest.raises(ValidationError, match="no regular expression"):
        config(gradients={"enabled": True, "exclude_patterns": patterns})


def test_nothing_left_to_trace(folder: Path) -> None:
    with pytest.raises(InputError, match="exclude less"):
        assemble(config(gradients={"enabled": True, "exclude_patterns": ["."]}), Store(folder))
