"""A look at what a store of maps would hold, before it is made."""

from __future__ import annotations

from pathlib import Path

from pipeline.contract.derived import load_derived
from pipeline.store.config import StoreConfig
from pipeline.store.content import read_content
from pipeline.store.preflight import table


def check_maps(config: StoreConfig, derived: Path) -> str:
    """Return what the settings would store of the derived files in ``derived``, as text; no field is read.

    Raises:
        InputError: a setting, a label or a day is wrong.
    """
    content = read_content(config, derived, load_derived(derived))
    height, width = content.window.shape
    channels = [f"{channel.name} [{channel.units}]" for channel in content.channels]
    lines = [
        table(content.preflight),
        "",
        f"grid: {len(channels)} channels × {height} × {width}: {', '.join(channels)}",
    ]
    if content.scalars:
        values = content.days.scalars
        lines.append(f"{'scalar':<20}{'min':>12}{'mean':>12}{'max':>12}")
        for name, column in zip(content.scalars, values.T, strict=True):
            lines.append(f"{name:<20}{column.min():>12.5g}{column.mean():>12.5g}{column.max():>12.5g}")
    return "\n".join(lines)
