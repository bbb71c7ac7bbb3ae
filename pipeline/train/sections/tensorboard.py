"""Settings of the logs for TensorBoard."""

from __future__ import annotations

from pydantic import Field

from pipeline.core.config import Section


class TensorBoardConfig(Section):
    """Logs for TensorBoard in ``tensorboard/`` of the run; they change no weight."""

    scalars: bool = True
    """Losses, scores and rates of every epoch, as in ``metrics.csv``."""
    images: int = Field(0, ge=0, le=64)
    """So many training samples as the model gets them in its first step: images, maps by channel, series as stripes."""
    graph: bool = False
    """The network's graph, when the training begins."""
    histograms: int = Field(0, ge=0)
    """Epochs from one set of histograms of weights, and of gradients in the epoch's last step, to the next; 0: none."""
