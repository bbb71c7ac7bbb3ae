"""Logs for TensorBoard: one file of events a start, in ``tensorboard/`` of the run.

A file begins by telling readers to forget what a killed start logged of epochs that are trained again, and it has the
points of an epoch before its checkpoint is written; so each epoch is there once. Files are numbered in the order of the
starts, because readers go through them by name and a clock may be set back.

The package is imported when there is something to write.
"""

from __future__ import annotations

import io
import math
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.core.artifact import make_folder
from pipeline.core.errors import disk_fault
from pipeline.core.logs import log
from pipeline.train.encoders import ImageEncoder
from pipeline.train.model import Classifier
from pipeline.train.sections.tensorboard import TensorBoardConfig

FOLDER = "tensorboard"
_TILE = 96
"""Smallest side of a sample's picture."""
_RANGE = 3.0
"""Standard deviations from the middle of the colours to their ends."""
_BINS = 64
_LOW, _HIGH = (0.13, 0.40, 0.67), (0.70, 0.09, 0.17)
"""Blue and red, as in ColorBrewer's RdBu; the middle is white."""


class Board:
    """Writes the logs of one start of a training."""

    def __init__(self, run: Path, config: TensorBoardConfig, rows: Sequence[Mapping[str, float]]) -> None:
        """Go on after the epochs of ``rows`` (see :func:`pipeline.train.history.rows`).

        Where nothing was logged of them (by another run, before logs were asked for), they are logged now.
        """
        self._config, self._folder = config, run / FOLDER
        earlier = sorted(self._folder.glob("events.out.tfevents.*")) if self._folder.exists() else []
        self._path = self._folder / f"events.out.tfevents.{_number(earlier) + 1:010d}.isobar"
        self._done = len(rows)
        self.fresh = not earlier or not rows
        """Whether this is the beginning of the logs."""
        if self.fresh and config.scalars and rows:
            self._write(summary for row in rows for summary in _scalars(row))

    @property
    def wanted(self) -> bool:
        """Whether anything is logged at all."""
        return self._config.scalars or self._config.histograms > 0

    def begin(self, module: nn.Module, samples: Mapping[str, Tensor]) -> None:
        """Log the graph of ``module`` and what it gets of a few ``samples``, by input."""
        if self._config.images:
            self._write((0, _picture(name, values, module)) for name, values in samples.items())
        if self._config.graph:
            self._write([(0, _graph(module, samples))])

    def epoch(self, row: Mapping[str, float], module: nn.Module, gradients: Mapping[str, Tensor]) -> None:
        """Log a finished epoch: its row, and histograms if they are due."""
        found = list(_scalars(row)) if self._config.scalars else []
        step = int(row["epoch"])
        if self._config.histograms and step % self._config.histograms == 0:
            weights = {name: value.detach() for name, value in module.named_parameters()}
            for kind, values in (("weights", weights), ("gradients", gradients)):
                found += [(step, _histogram(f"{kind}/{name}", value)) for name, value in values.items()]
        self._write(found)

    def _write(self, items: Iterable[tuple[int, Any]]) -> None:
        """Append to the file of this start: (step, summary or bytes of a graph)."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        buffer = io.BytesIO()
        records = RecordWriter(buffer)
        if not self._path.exists():
            # From here on the epochs that follow are this start's; "2" is the format that has such marks.
            first = 0 if self.fresh else self._done + 1
            mark = SessionLog(status=SessionLog.START)
            for event in (Event(file_version="brain.Event:2"), Event(step=first, session_log=mark)):
                event.wall_time = time.time()
                records.write(event.SerializeToString())
        for step, item in items:
            event = Event(wall_time=time.time(), step=step)
            if isinstance(item, bytes):
                event.graph_def = item
            elif item is not None:
                event.summary.CopyFrom(item)
            records.write(event.SerializeToString())
        make_folder(self._folder)
        try:
            with self._path.open("ab") as stream:
                stream.write(buffer.getvalue())
        except OSError as error:
            raise disk_fault(error, self._path) or error from error


def _number(paths: Sequence[Path]) -> int:
    """Return the number of the latest start, whatever others put beside our files."""
    found = [int(part) for path in paths for part in path.name.split(".")[3:4] if part.isdigit()]
    return max((number for number in found if number < 1_000_000_000), default=0)


def _scalars(row: Mapping[str, float]) -> Iterable[tuple[int, Any]]:
    from torch.utils.tensorboard.summary import scalar

    for name, value in row.items():
        if name != "epoch" and not math.isnan(value):
            yield int(row["epoch"]), scalar(name, value)  # type: ignore[no-untyped-call]


def _histogram(tag: str, values: Tensor) -> Any:
    from torch.utils.tensorboard.summary import histogram_raw

    values = values.float().flatten()
    values = values if values.isfinite().all() else values[values.isfinite()]
    if len(values) == 0:
        return None
    low, high = float(values.min()), float(values.max())
    if low == high:
        edges, counts = [high], [float(len(values))]
    else:  # where the values are: a copy to the host and NumPy take twenty times as long
        edges = torch.linspace(low, high, _BINS + 1, dtype=torch.float64)[1:].tolist()
        counts = torch.histc(values, _BINS, low, high).tolist()
    sums = float(values.sum(dtype=torch.float64)), float(values.square().sum(dtype=torch.float64))
    return histogram_raw(tag, low, high, len(values), *sums, edges, counts)  # type: ignore[no-untyped-call]


def _graph(module: nn.Module, samples: Mapping[str, Tensor]) -> bytes | None:
    """Return the graph; ``None`` where the network cannot be traced, which ends no training."""
    from torch.utils.tensorboard._pytorch_graph import graph

    was = module.training
    module.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what tracing fixes is the size of a drawing, and no model of anybody's
            found, _ = graph(module, (dict(samples),), verbose=False, use_strict_trace=False)  # type: ignore[no-untyped-call]
        return bytes(found.SerializeToString())
    except (RuntimeError, TypeError, ValueError) as error:
        log.warning("train.tensorboard.graph: this network cannot be drawn (%s)", str(error).splitlines()[0][:120])
        return None
    finally:
        module.train(was)


def _picture(name: str, values: Tensor, module: nn.Module) -> Any:
    """Return one picture: a row a sample; an image, or the channels of a map (series: one stripe a feature)."""
    from torch.utils.tensorboard.summary import image

    images = module.images() if isinstance(module, Classifier) else {}
    if name in images:
        tiles = _shown(values, images[name])[:, None]
    elif values.ndim == 4:
        tiles = _coloured(values)
    else:
        tiles = _coloured(values[:, None, None] if values.ndim == 2 else values.transpose(1, 2)[:, None])
    sheet = _sheet(tiles.float().cpu())
    return image(f"samples/{name}", sheet, dataformats="CHW")  # type: ignore[no-untyped-call]


def _shown(images: Tensor, encoder: ImageEncoder) -> Tensor:
    """Return images in 0 … 1, whether they come as they are stored or normalised."""
    if images.dtype == torch.uint8:
        return images.float() / 255
    colours = encoder.prepare.normalize
    return images.float() * colours.std.view(-1, 1, 1) + colours.mean.view(-1, 1, 1)


def _coloured(values: Tensor) -> Tensor:
    """Return standardised values (B × C × H × W) in colours (B × C × 3 × H × W): white at 0."""
    place = (values.detach().float().cpu() / _RANGE).clamp(-1, 1)[:, :, None]
    low, high = (torch.tensor(colour).view(1, 1, 3, 1, 1) for colour in (_LOW, _HIGH))
    return torch.where(place < 0, 1 + place * (1 - low), 1 - place * (1 - high))


def _sheet(tiles: Tensor) -> Tensor:
    """Return tiles (rows × columns × 3 × H × W) side by side, enlarged by whole numbers, with white seams."""
    times = max(1, math.ceil(_TILE / max(tiles.shape[-2:])))
    tiles = tiles.repeat_interleave(times, -1).repeat_interleave(times, -2)
    tiles = nn.functional.pad(tiles, (2, 2, 2, 2), value=1.0)
    rows, columns, colours, height, width = tiles.shape
    return tiles.permute(2, 0, 3, 1, 4).reshape(colours, rows * height, columns * width).clamp(0, 1)
