"""Pictures of what the evaluate job wrote on request: samples, the worst, doubtful labels, two runs compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipeline.contract.predictions import fresh_files, number
from pipeline.contract.scores import Floats
from pipeline.contract.store import Store
from pipeline.core.artifact import describe_files, read_json, sha256, write_json
from pipeline.core.config import signature
from pipeline.core.lock import exclusive
from pipeline.report.against import draw_comparison
from pipeline.report.config import FORMAT, ReportConfig
from pipeline.report.fields import Grid
from pipeline.report.samples import Page, Sample, draw_page
from pipeline.report.style import look, save

_TITLES = {
    "visualize": "samples",
    "misclassified": "the worst samples",
    "label_audit": "the most contradicted labels",
}
PRESSURE = ".pressure.npz"
Pictures = Mapping[str, Callable[[], Figure]]


def draw(config: ReportConfig, store_folder: Path, listed: Path | None, most: int) -> tuple[str, ...]:
    """Draw what the evaluate job wrote, beside it; return the paths of the pictures.

    Args:
        config: how pictures look.
        store_folder: the store with the inputs of its samples.
        listed: a list of samples, or a comparison of two runs; ``None``: nothing is drawn.
        most: how many samples of a list are drawn; 0: none, or a comparison.
    """
    if listed is None:
        return ()
    value = read_json(listed)
    if "against" in value:
        return draw_against(config, listed, value)
    return draw_samples(config, listed, value, store_folder, most)


def draw_samples(
    config: ReportConfig, listed: Path, value: dict[str, Any], store_folder: Path, most: int
) -> tuple[str, ...]:
    """Draw the first ``most`` samples of a list on one page, unless that was done; return the paths of the pictures."""
    shown = value["shown"][:most]
    thresholds = dict(zip(value["classes"], map(number, value["thresholds"]), strict=True))
    store = Store(store_folder)
    title = f"{value['run']}: {_TITLES.get(listed.parent.name, listed.parent.name)} ({value['split']})"
    rule = value["rule"] if len(shown) == len(value["shown"]) else f"the first {len(shown)} of the {value['rule']}"
    page = Page(store, tuple(value["inputs"]), thresholds, title, rule, _note, _pressure(listed))
    pictures = {f"{listed.stem}.png": lambda: draw_page(page, shown)} if shown else {}
    names = [*value["classes"], *(sample["label"] for sample in shown)]
    return _drawn_once(config, listed, [most], pictures, names)


def draw_against(config: ReportConfig, listed: Path, value: dict[str, Any]) -> tuple[str, ...]:
    """Draw the comparison of two runs beside its numbers, unless that was done; return the paths of the pictures."""
    splits: dict[str, Any] = value["splits"]
    pictures = {
        f"{listed.stem}_{split}.png": lambda found=found, split=split: draw_comparison(
            value["run"], value["against"], split, found
        )
        for split, found in splits.items()
    }
    names = [one["class"] for found in splits.values() for one in found["per_class"]]
    return _drawn_once(config, listed, [], pictures, names)


def _pressure(listed: Path) -> dict[int, tuple[Grid, Floats]]:
    """Return the pressure that was brought beside a list, by row of the store."""
    path = listed.with_suffix(PRESSURE)
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        grid = Grid(arrays["latitude"], arrays["longitude"])
        days = zip(arrays["row"].tolist(), arrays["values"], strict=True)
        return {row: (grid, values) for row, values in days if not np.isnan(values).all()}


def _note(sample: Sample) -> str:
    """Return what stands below a sample that has neighbours: their labels and distances."""
    near = sample.get("neighbours", [])
    if not near:
        return ""
    told = ", ".join(f"{other['label']} ({other['distance']:.2f})" for other in near[:5])
    return f"most alike: {told}"


def _drawn_once(
    config: ReportConfig, listed: Path, more: list[Any], pictures: Pictures, names: list[str]
) -> tuple[str, ...]:
    """Draw pictures beside a list unless its index says that they are there, made from just this."""
    index = listed.with_name(f"{listed.stem}.pictures.json")
    beside = [path for path in (listed, listed.with_suffix(PRESSURE)) if path.exists()]
    made = {"settings": [FORMAT, signature(config), *more], "lists": [sha256(path) for path in beside]}
    with exclusive(listed.parents[1]):
        if fresh_files(index, made) is None:
            with look(names):
                for name, draw in pictures.items():
                    save(draw(), listed.parent / name, config.dpi)
            write_json(index, {"files": describe_files(listed.parent, pictures), "made_from": made})
    return tuple(str(listed.parent / name) for name in pictures)
