"""Three convolutions: the baseline."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.train.backbones.base import Backbone, Size, layer_stages
from pipeline.train.config import ModelConfig

WIDTHS = (32, 64, 64)


class Simple(Backbone):
    """(convolution 3 × 3, max pooling 2 × 2, ReLU, dropout) three times, with 32, 64 and 64 channels.

    ReLU comes after the pooling: max and ReLU commute, so the function is the same, on a quarter of the values.
    A side of one cell is not pooled further.
    """

    def __init__(self, channels: int, size: Size, config: ModelConfig) -> None:
        """Build the layers for ``channels`` fields of ``size`` (rows, columns)."""
        layers: list[nn.Module] = []
        for width in WIDTHS:
            window = (min(2, size[0]), min(2, size[1]))
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.MaxPool2d(window), nn.ReLU(inplace=True)]
            layers.append(nn.Dropout(config.dropout))
            channels, size = width, (size[0] // window[0], size[1] // window[1])
        super().__init__(channels, size)
        self.layers = nn.Sequential(*layers)

    def stages(self) -> list[list[str]]:
        """Return the parameters' names, a stage for each convolution, shallowest first."""
        return layer_stages(self, range(0, len(self.layers), len(self.layers) // len(WIDTHS)))

    def forward(self, fields: Tensor) -> Tensor:
        """Return the feature map (B × 64 × ⌊H/8⌋ × ⌊W/8⌋)."""
        return self.layers(fields)  # type: ignore[no-any-return]
