"""The model of a finished run at work: stored arrays of new samples in, logits out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.contract.store import DEFAULT_FOLD, InputSpec, Rows, Store, StoreSpec, TargetSpec
from pipeline.core.errors import InputError, IsobarError
from pipeline.core.logs import log
from pipeline.train.assemble import start_fabric
from pipeline.train.batches import Batch, Inputs, Wanted, open_source
from pipeline.train.checkpoint import load_tensors
from pipeline.train.config import TrainConfig
from pipeline.train.model import as_built, build_model
from pipeline.train.start import check_tensors

MODEL = "model.pt"
Scales = Mapping[str, Mapping[str, Any]]
"""By input: ``mean`` and ``std`` of each channel in physical units."""


class Network:
    """The weights that validation chose, on their device, and what they read.

    ``specs`` describes each input (kind, per-sample shape, channels, units, dtype), ``classes`` names the K outputs.
    """

    def __init__(self, folder: Path, config: TrainConfig, fold: Scales, stored: Scales) -> None:
        """Read ``model.pt`` of the run in ``folder``; neither a store nor the hub of pretrained weights is needed.

        Args:
            folder: the run.
            config: its settings, with the device and threads to use.
            fold: the scale by which the model sees its inputs.
            stored: the scale by which arrays come; the same, except for a run on another fold than the default one.

        Raises:
            InputError: the file is missing, broken, of another model, or holds code.
            EnvironmentFault: the device asked for is not there.
        """
        path = folder / MODEL
        raw = load_tensors(path)
        lacking = [name for name in ("model", "facts", "inputs", "identity") if name not in raw]
        if lacking:
            raise InputError(f"{path}: lacks {', '.join(lacking)}; it is not the model of a run of this program")
        self.specs = {name: _spec(values) for name, values in raw["inputs"].items()}
        self.classes = tuple(raw["identity"]["classes"])
        self.store = str(raw["identity"]["store"])
        """Version of the store that the run was trained on."""
        self._scale = {DEFAULT_FOLD: dict(stored), config.fold: dict(fold)}
        fabric = start_fabric(_possible(config))
        self._wanted = Wanted(tuple(self.specs), config.fold, fabric.device, config.channels_last)
        torch.manual_seed(config.seed)
        self.module: nn.Module = build_model(as_built(config.model, raw["facts"]), self.specs, len(self.classes), fold)
        check_tensors(raw["model"], self.module.state_dict(), path, "model")
        self.module.load_state_dict(raw["model"])
        self.module.to(fabric.device)
        if config.channels_last:
            self.module.to(memory_format=torch.channels_last)
        self.module.eval()
        self._model = fabric.setup_module(self.module)

    @torch.no_grad()
    def logits(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the logits (N × K) of N samples, all in one batch.

        Args:
            arrays: by input, N × per-sample shape in the dtype of the store: standardised by the stored scale, NaN
                where missing; images plain uint8.
        """
        # As in training: denormal numbers cost a CPU much time and change no score.
        torch.set_flush_denormal(True)
        try:
            out = self._model(self.batch(arrays).inputs)
            return np.asarray(out.float().cpu().numpy(), np.float32)
        finally:
            torch.set_flush_denormal(False)

    def batch(self, arrays: Mapping[str, NDArray[Any]]) -> Batch:
        """Return what the model sees of N samples: by the fold's scale, missing values at 0, validity channels."""
        rows = np.arange(len(next(iter(arrays.values()))))
        store = _Chunk(self.specs, arrays, self.classes, self._scale)
        return next(iter(open_source(store, self._wanted, rows, float("inf")).batches([rows])))

    def traced(self, inputs: Inputs) -> torch.export.ExportedProgram:
        """Return the network as a graph from what it sees (see :meth:`batch`) to logits, for any number of samples."""
        # The fast path of attention is one opaque operator, which no other runtime knows.
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.no_grad():
                free = tuple({0: torch.export.Dim("samples", max=1 << 20)} for _ in inputs)
                named = _Positional(self.module, tuple(inputs)).eval()
                return torch.export.export(named, tuple(inputs.values()), dynamic_shapes=(free,))
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)

    def write_onnx(self, path: Path, inputs: Inputs) -> None:
        """Write the network as an ONNX file whose inputs have the names of ours and whose output is ``logits``.

        Raises:
            IsobarError: an operator of the network has no counterpart in ONNX.
        """
        try:
            with warnings.catch_warnings():
                # What the exporter says of its own insides (deprecations, other ways of marking sizes) helps nobody.
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    self.traced(inputs), f=str(path), input_names=list(inputs), output_names=["logits"],
                    external_data=False, verbose=False,
                )  # fmt: skip
        except (torch.onnx.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
            raise IsobarError(f"predict.export: this network cannot be written as ONNX ({_line(error)})") from error


class _Positional(nn.Module):
    """A model whose inputs are given in order instead of by name."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self._names = module, names

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits (B × K)."""
        return self.module(dict(zip(self._names, inputs, strict=True)))  # type: ignore[no-any-return]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _possible(config: TrainConfig) -> TrainConfig:
    """Return the settings with an arithmetic that this machine has."""
    cuda = config.device != "cpu" and torch.cuda.is_available()
    if config.precision == "fp16" and not cuda:
        log.warning("trained with precision fp16, which needs a CUDA device; predicting with 32")
        return config.model_copy(update={"precision": "32"})
    return config


class _Chunk(Store):
    """A few new samples in memory, as a store shows them to the batches of a training."""

    def __init__(
        self, specs: dict[str, InputSpec], arrays: Mapping[str, NDArray[Any]], classes: tuple[str, ...], scale: Any
    ) -> None:
        count = len(next(iter(arrays.values())))
        self.folder = Path()
        self.spec = StoreSpec(
            dataset="",
            version="",
            samples=count,
            inputs=specs,
            target=TargetSpec("", classes),
            folds=tuple(scale),
            latitude=(),
            longitude=(),
            upstream={},
            files={},
            preflight={},
        )
        self.target = np.zeros((count, len(classes)), np.uint8)
        self.scale = scale
        self._arrays = arrays

    def rows(self, name: str) -> Rows:
        """Return the array of input ``name``."""
        return _Array(self._arrays[name])


class _Array(Rows):
    """Rows that are in memory already."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.shape, self.dtype = values.shape, values.dtype
        self.row_bytes = values[:1].nbytes
        self._values = values

    def read(self, rows: NDArray[np.int64], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of the samples ``rows``."""
        return np.take(self._values, rows, axis=0, out=out)


def _spec(values: Mapping[str, Any]) -> InputSpec:
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return InputSpec(**plain)
