"""Pictures while training runs: which are drawn from which columns, and that they show the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.core.errors import InputError
from pipeline.report.training import accuracy, draw_training, gradient_heatmap, group_rates, read_table

METRICS = "epoch,learning_rate,train_loss,train_accuracy,val_loss,val_accuracy"
ROWS = ["1,0.1,2.0,0.3,2.1,0.2", "2,0.1,1.5,0.5,1.7,0.4", "3,0.01,1.2,0.6,,"]


def written(folder: Path, header: str = METRICS, rows: list[str] = ROWS, name: str = "metrics.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def test_what_is_there_is_drawn(tmp_path: Path):
    run = written(tmp_path / "run")
    assert draw_training(run) == ("training_loss.png", "training_accuracy.png")
    wide = [f"{row},0.1,0.001" for row in ROWS]
    written(run, METRICS + ",lr_head,lr_layer1", wide)
    written(run, "epoch,layer1,fc", ["1,0.1,0.2", "2,0.05,0.0"], "gradient_trace.csv")
    names = draw_training(run)
    assert {"layer_wise_lr.png", "gradient_timeline.png", "gradient_heatmap.png"} < set(names)
    for name in names:
        assert imread(run / "figures" / name)[..., :3].std() > 0.03


def test_the_rate_has_an_axis_of_its_own_unless_groups_have_theirs(tmp_path: Path):
    metrics = read_table(written(tmp_path / "run") / "metrics.csv")
    assert [axis.get_ylabel() for axis in accuracy(metrics, "", with_rate=True).axes] == ["accuracy", "learning rate"]
    assert [axis.get_ylabel() for axis in accuracy(metrics, "", with_rate=False).axes] == ["accuracy"]
    drawn = accuracy(metrics, "", with_rate=True).axes[1].lines[0].get_ydata()
    assert np.array_equal(drawn, metrics["learning_rate"])


@pytest.mark.parametrize(("log_scale", "scale"), [(True, "log"), (False, "linear")])
def test_scale_of_group_rates(log_scale: bool, scale: str):
    rates = {"head": np.array([0.1, 0.01]), "layer1": np.array([0.001, 0.0001])}
    assert group_rates(np.array([1.0, 2.0]), rates, "", log_scale).axes[0].get_yscale() == scale


def test_a_block_without_gradient_is_blank_and_not_an_error():
    trace = {"epoch": np.array([1.0, 2.0]), "a": np.array([0.1, 0.01]), "b": np.zeros(2)}
    values = gradient_heatmap(trace, "").axes[0].collections[0].get_array()
    assert np.ma.is_masked(values) or np.isnan(values).any()


def test_a_broken_table_is_named(tmp_path: Path):
    run = written(tmp_path / "run", rows=["1,0.1,abc,0,0,0"])
    with pytest.raises(InputError, match=r"metrics\.csv: not a table of numbers .*'abc'"):
        draw_training(run)
