"""The model of a run as an ONNX file, whose answers are compared with torch's before it gets its name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.store import InputSpec
from pipeline.core.artifact import write_json, writing
from pipeline.core.errors import EnvironmentFault, IsobarError
from pipeline.predict.finished import FinishedRun

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-3
"""Of logits: float32 sums in other orders differ by 1e-5 of their size, and logits are a few units large."""
_SAMPLES, _TRACED = 7, 5
"""Samples that are compared, and those that the graph is made from: it has to take any number of them."""


def export_onnx(run: FinishedRun) -> tuple[Path, float]:
    """Write ``model.onnx`` and ``model.onnx.json`` into the run's folder; return it and the largest difference.

    The network reads what a store holds after the scale was applied and gaps were filled; the JSON file beside it
    says the inputs, their scale, and how logits become probabilities and labels.

    Raises:
        EnvironmentFault: packages are missing, or the disk is full.
        IsobarError: the network has no ONNX form, or the answers differ.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            f"predict.export: onnx needs the packages {', '.join(PACKAGES)}; {', '.join(missing)} not in this "
            f"environment; pip install {' '.join(missing)}, or predict without exporting"
        )
    from pipeline.train.inference import Network

    train = run.settings.train.model_copy(update={"device": "cpu", "precision": "32", "channels_last": False})
    network = Network(run.path, train, run.fold_scale(), run.stored_scale())
    arrays = _arrays(network.specs)
    inputs = network.batch(arrays).inputs
    fed = {name: np.asarray(values.numpy()) for name, values in inputs.items()}
    path = run.path / "model.onnx"
    with writing(path) as part:
        network.write_onnx(part, {name: values[:_TRACED] for name, values in inputs.items()})
        difference = _difference(part, fed, network.logits(arrays))
        if not difference <= TOLERANCE:
            raise IsobarError(
                f"predict.export: the ONNX file's logits differ from torch's by up to {difference:.3g} (allowed "
                f"{TOLERANCE:g}); it is not kept"
            )
    write_json(path.with_name(f"{path.name}.json"), _description(run, network.specs, fed, difference))
    return path, difference


def _arrays(specs: Mapping[str, InputSpec]) -> dict[str, NDArray[Any]]:
    """Return inputs as a store holds them, of noise that is the same each time, with values missing where they may."""
    generator = np.random.default_rng(0)
    found: dict[str, NDArray[Any]] = {}
    for name, spec in specs.items():
        shape = (_SAMPLES, *spec.shape)
        if spec.kind == "image":
            found[name] = generator.integers(0, 256, shape).astype(np.uint8)
            continue
        found[name] = generator.standard_normal(shape).astype(spec.dtype)
        if spec.kind == "series":
            found[name][1, : shape[1] // 2] = np.nan
            found[name][2] = np.nan
        for channel in spec.missing if spec.kind != "series" else ():
            found[name][3, spec.channels.index(channel)] = np.nan
    return found


def _difference(path: Path, inputs: Mapping[str, NDArray[Any]], expected: NDArray[np.float32]) -> float:
    """Return the largest difference of logits, over all samples at once and over the last one alone."""
    session = import_module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for first in (0, len(expected) - 1):
        (got,) = session.run(["logits"], {name: values[first:] for name, values in inputs.items()})
        worst = max(worst, float(np.abs(got - expected[first:]).max()))
    return worst


def _description(
    run: FinishedRun, specs: Mapping[str, InputSpec], inputs: Mapping[str, NDArray[Any]], difference: float
) -> dict[str, Any]:
    decisions = run.decisions
    return {
        "run": run.name,
        "inputs": {
            name: {
                "shape": ["samples", *values.shape[1:]],
                "dtype": str(values.dtype),
                "validity": _validity(specs[name]),
                **run.norm["inputs"][name],
            }
            for name, values in inputs.items()
        },
        "output": "logits",
        "kind": decisions.details["kind"],
        "classes": decisions.classes,
        "a": decisions.a,
        "b": decisions.b,
        "thresholds": decisions.thresholds,
        "largest_difference": difference,
    }


def _validity(spec: InputSpec) -> tuple[str, ...]:
    """Return what the channels behind the values tell: 1 where that channel, or step of a series, is there, else 0."""
    if spec.kind == "series":
        return ("step",)
    return spec.missing if spec.masked else ()
