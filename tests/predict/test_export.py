"""Exported networks: any number of samples, torch's answers, every backbone and encoder; and what is refused."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.contract.store import InputSpec
from pipeline.core.errors import EnvironmentFault, IsobarError
from pipeline.predict import export
from pipeline.predict.export import export_onnx
from pipeline.train.checkpoint import save_tensors
from pipeline.train.config import TrainConfig
from pipeline.train.inference import Network
from pipeline.train.model import build_model
from tests.conftest import run_job
from tests.predict.finished_runs import Made, opened


def network(made: Made) -> Network:
    run = made.opened
    return Network(run.path, run.settings.train, run.fold_scale(), run.stored_scale())


def test_the_graph_answers_as_the_network_does(maps: Made, charts: Made) -> None:
    for made in (maps, charts):
        net = network(made)
        arrays = export._arrays(net.specs)
        graph = net.traced({name: values[:5] for name, values in net.batch(arrays).inputs.items()}).module()
        for count in (1, 7):
            part = {name: values[:count] for name, values in arrays.items()}
            got = graph(*net.batch(part).inputs.values()).detach().numpy()
            # Attention by another kernel, convolutions of another batch: rounding of float32.
            np.testing.assert_allclose(got, net.logits(part), rtol=0, atol=1e-5)


# --- every backbone and encoder, with random weights -----------------------------------------------------------------

GRID = InputSpec("grid", "grid.npy", "float32", (4, 17, 33), tuple("abcd"), ("1",) * 4, ("b",), masked=True)
SCALARS = InputSpec("scalars", "scalars.npy", "float32", (3,), tuple("efg"), ("1",) * 3)
IMAGE = InputSpec("image", "image.npy", "uint8", (3, 64, 64), ("red", "green", "blue"), ("1",) * 3)
SERIES = InputSpec(
    "series", "series.npy", "float32", (10, 6), tuple("hijklm"), ("1",) * 6, tuple("hijklm"), masked=True
)
MAPS, PICTURE, BOTH = {"grid": GRID, "scalars": SCALARS}, {"image": IMAGE}, {"image": IMAGE, "series": SERIES}
QUICK: dict[str, tuple[dict[str, InputSpec], dict[str, Any]]] = {
    "simple, place and windows": (
        MAPS,
        {"backbone": "simple", "coordinates": True, "pooling": "windows", "members": 3, "head_dropout": 0},
    ),
}
ZOO = ("resnet18", "mobilenetv3_small_100", "vit_tiny_patch16_224", "timm/convnext_atto")
SLOW: dict[str, tuple[dict[str, InputSpec], dict[str, Any]]] = {
    **{f"maps {name}": (MAPS, {"backbone": name}) for name in ("resnet_small", "deformable", "convnext_tiny")},
    **{f"maps {name}": (MAPS, {"backbone": name}) for name in ZOO},
    "maps positional": (MAPS, {"backbone": "positional", "windows": 6, "members": 8, "activation": "tanh"}),
    "maps simple average": (MAPS, {"backbone": "simple", "pooling": "average"}),
    **{f"image {name}": (PICTURE, {"backbone": name}) for name in ("resnet18", "vit_tiny_patch16_224")},
    "image grey": (PICTURE, {"transforms": [{"Grayscale": {"num_output_channels": 3}}], "normalize": "dataset"}),
    "simple with series, attention, reasoning, transforms": (
        BOTH,
        {
            "backbone": "simple",
            "fusion": "cross_attention",
            "reasoning_dim": 8,
            "transforms": [{"Resize": {"size": 48}}, {"CenterCrop": {"size": 40}}],
        },
    ),
    "series last": ({"series": SERIES}, {}),
    "series mean": ({"series": SERIES}, {"series": {"output": "mean", "dim": 32, "heads": 2}}),
    "image and series": (BOTH, {"backbone": "resnet18"}),
    "map and series, attention": (
        {"grid": GRID, "series": SERIES},
        {"backbone": "simple", "fusion": "cross_attention"},
    ),
}


def exported_difference(folder: Path, specs: dict[str, InputSpec], model: dict[str, Any]) -> float:
    """Return the largest difference of logits at 7 samples and 1, as a share of their spread over the samples."""
    config = TrainConfig.model_validate({"model": model, "device": "cpu", "threads": 1})
    scale = {name: {"mean": [0.5] * spec.shape[0], "std": [0.25] * spec.shape[0]} for name, spec in specs.items()}
    scale |= {name: {"mean": [0.0] * 6, "std": [1.0] * 6} for name in specs if name == "series"}
    torch.manual_seed(0)
    module = build_model(config.model, specs, 6, scale)
    for name, values in module.named_buffers():  # statistics of a training, so that no norm is the identity
        if name.endswith("running_mean"):
            values.normal_(0, 0.1)
        if name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
    inputs = {name: asdict(spec) for name, spec in specs.items()}
    identity = {"classes": list("nopqrs"), "store": "0"}
    parts = {"format": 1, "model": module.state_dict(), "facts": module.facts, "inputs": inputs, "identity": identity}
    save_tensors(folder / "model.pt", parts)
    net = Network(folder, config, scale, scale)
    arrays = export._arrays(net.specs)
    seen = net.batch(arrays).inputs
    net.write_onnx(folder / "model.onnx", {name: values[:5] for name, values in seen.items()})
    fed = {name: np.asarray(values.numpy()) for name, values in seen.items()}
    logits = net.logits(arrays)
    return export._difference(folder / "model.onnx", fed, logits) / float(logits.std(axis=0).max())


@pytest.mark.parametrize("name", QUICK)
def test_networks_have_an_onnx_form(name: str, tmp_path: Path) -> None:
    # Rounding of float32 in other orders; measured: 1e-7 to 1e-5 of the spread.
    assert exported_difference(tmp_path, *QUICK[name]) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_every_backbone_and_encoder_has_an_onnx_form(name: str, tmp_path: Path) -> None:
    assert exported_difference(tmp_path, *SLOW[name]) < 1e-3


# --- the command -----------------------------------------------------------------------------------------------------


def copied(made: Made, to: Path) -> Path:
    shutil.copytree(made.run, to)
    return to


def test_the_file_says_how_it_is_used(both: Made, tmp_path: Path) -> None:
    import onnx

    run = opened(copied(both, tmp_path / "run"))
    path, difference = export_onnx(run)
    assert difference < 1e-5  # float32
    graph = onnx.load(str(path))
    onnx.checker.check_model(graph)
    assert [entry.name for entry in graph.graph.input] == ["image", "series"]
    assert all(entry.type.tensor_type.shape.dim[0].dim_param for entry in graph.graph.input)
    told = json.loads((tmp_path / "run" / "model.onnx.json").read_text())
    assert told["inputs"]["series"]["validity"] == ["step"]
    assert told["inputs"]["image"]["dtype"] == "uint8"
    assert {"a", "b", "thresholds", "classes", "kind"} <= set(told)


def test_a_file_that_answers_otherwise_is_not_kept(
    charts: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(copied(charts, tmp_path / "run"))
    real = Network.logits
    monkeypatch.setattr(Network, "logits", lambda self, arrays: real(self, arrays) + 0.1)
    with pytest.raises(IsobarError, match=r"differ from torch's by up to 0\.1"):
        export_onnx(run)
    assert not [path for path in (tmp_path / "run").iterdir() if "onnx" in path.name]


def test_a_network_without_a_form_is_one_line(charts: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = opened(copied(charts, tmp_path / "run"))

    def fixed(self: Network, inputs: dict[str, torch.Tensor]) -> None:
        raise RuntimeError("a graph\nof two lines")

    monkeypatch.setattr(Network, "traced", fixed)
    with pytest.raises(IsobarError, match=r"cannot be written as ONNX \(a graph of two lines\)") as told:
        export_onnx(run)
    assert "\n" not in str(told.value)


def test_the_packages_are_named(maps: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else True)
    with pytest.raises(EnvironmentFault, match="pip install onnxruntime, or"):
        export_onnx(maps.opened)


@pytest.mark.slow
def test_the_command_writes_the_file(maps: Made, tmp_path: Path) -> None:
    run = copied(maps, tmp_path / "results" / "maps" / maps.run.name)
    ended = run_job("predict", run, "--export", "onnx")
    assert ended.code == 0, ended.text
    assert "logits differ from torch's by at most" in ended.text
    assert (run / "model.onnx").exists()
