"""The network as a graph, and the comparison that an exported file has to pass."""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.core.errors import EnvironmentFault, IsobarError
from pipeline.predict import export
from pipeline.predict.export import export_onnx
from pipeline.train.inference import Network
from tests.conftest import run_job
from tests.predict.finished_runs import Made, opened


def network(made: Made) -> Network:
    run = made.opened
    return Network(run.path, run.settings.train, run.fold_scale(), run.stored_scale())


def test_the_graph_answers_as_the_network_does(maps: Made, charts: Made, both: Made) -> None:
    for made in (maps, charts, both):
        net = network(made)
        arrays = export._arrays(net.specs)
        graph = net.traced(net.batch(arrays).inputs).module()
        for count in (1, 3):
            part = {name: values[:count] for name, values in arrays.items()}
            got = graph(*net.batch(part).inputs.values()).detach().numpy()
            # Attention by another kernel, convolutions of another batch: rounding of float32.
            np.testing.assert_allclose(got, net.logits(part), rtol=0, atol=1e-5)


@pytest.mark.skipif(not [n for n in export.PACKAGES if not export.find_spec(n)], reason="the packages are there")
def test_without_the_packages_it_says_which(maps: Made) -> None:
    ended = run_job("predict", maps.run, "--export", "onnx")
    assert (ended.code, ended.text.count(" ERROR ")) == (1, 1)
    assert "onnx needs the packages onnx, onnxscript, onnxruntime; " in ended.text
    assert not (maps.run / "model.onnx").exists()


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Stand-ins for the packages: the file is torch's own graph, and the runtime runs that and adds ``error``."""
    fault = {"error": 0.0}

    def write(program: torch.export.ExportedProgram, f: str, input_names: list[str], **_: Any) -> None:
        torch.export.save(program, f + ".pt2")
        Path(f + ".pt2").rename(f)

    class Session:
        def __init__(self, path: str, providers: list[str]) -> None:
            with open(path, "rb") as stream:
                self.graph = torch.export.load(stream).module()

        def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            assert outputs == ["logits"]
            return [self.graph(*map(torch.from_numpy, inputs.values())).detach().numpy() + fault["error"]]

    monkeypatch.setattr(export, "find_spec", lambda name: True)
    monkeypatch.setattr(torch.onnx, "export", write)
    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(InferenceSession=Session))
    return fault


def test_a_file_that_answers_alike_is_kept_and_another_is_not(
    both: Made, stand_ins: dict[str, float], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(both.run, tmp_path / "run")
    run = opened(tmp_path / "run")
    stand_ins["error"] = 0.1
    with pytest.raises(IsobarError, match=r"differ from torch's by up to 0\.1"):
        export_onnx(run)
    assert not list((tmp_path / "run").glob("*.onnx*"))
    stand_ins["error"] = 0.0
    path, difference = export_onnx(run)
    assert path.exists()
    assert difference < 1e-5
    assert '"thresholds"' in (tmp_path / "run" / "model.onnx.json").read_text()


def test_the_packages_are_named(maps: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else True)
    with pytest.raises(EnvironmentFault, match="pip install onnxruntime, or"):
        export_onnx(maps.opened)
