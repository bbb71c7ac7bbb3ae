"""One look for all pictures: few colours, thin lines, no frames; and PNG files that repeat byte for byte."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

from matplotlib import font_manager, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.core.artifact import writing
from pipeline.core.logs import log

# Distinguishable with every common colour vision (Okabe & Ito 2008), and by lightness in print.
DASHED = (0, (4, 3))
MODEL, OTHER, BASE, INK, FAINT = "#0072B2", "#D55E00", "#767676", "#222222", "#D9D9D9"

_CJK = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "IPAexGothic",
    "IPAGothic",
    "Hiragino Sans",
    "Yu Gothic",
    "Meiryo",
    "TakaoGothic",
    "VL Gothic",
    "WenQuanYi Zen Hei",
)
_FIRST_CJK = 0x2E80
_LEAST_WIDTH = 4.4
"""Inches that a legend needs."""
_LOOK: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": BASE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.linewidth": 0.8,
    "xtick.color": BASE,
    "ytick.color": BASE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.linewidth": 1.5,
    "text.parse_math": False,
    "svg.hashsalt": "fixed",
}


@contextmanager
def look(names: Iterable[str]) -> Iterator[None]:
    """Draw in the suite's style inside the block, with a font that has the characters of ``names`` if there is one."""
    fonts = ["DejaVu Sans"]
    if any(ord(character) >= _FIRST_CJK for name in names for character in name):
        found = _japanese_font()
        fonts += [found] if found else []
        if not found:
            log.warning(
                "no Japanese font is installed, class names are drawn as boxes; install for example fonts-ipaexfont"
            )
    with rc_context({**_LOOK, "font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _japanese_font() -> str | None:
    """Return the first font with Japanese characters that is installed."""
    found = _first_installed()
    if found is None:
        # matplotlib keeps its list of fonts for good, so one that was installed since is not on it.
        known = {entry.fname for entry in font_manager.fontManager.ttflist}
        for path in sorted(set(font_manager.findSystemFonts()) - known):
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError) as error:
                log.info("%s: not a readable font (%s)", path, error)
        found = _first_installed()
    return found


def _first_installed() -> str | None:
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return next((name for name in _CJK if name in installed), None)


def new_figure(width: float, height: float, title: str, detail: str, legend: Sequence[Artist] = ()) -> Figure:
    """Return an empty picture with its title (left), a detail (right, or below where narrow) and its legend on top.

    It belongs to no window and needs no closing. Width and height of what is below the head are in inches.
    """
    narrow = width < 0.08 * (text_width(title) + text_width(detail))
    head = 0.12 + 0.21 * (1 + narrow + bool(legend))
    height += head
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - head / height), w_pad=0.05, h_pad=0.08, hspace=0.03)
    left, first, line = 0.08 / width, 1 - 0.08 / height, 0.21 / height
    figure.text(left, first, title, ha="left", va="top", fontsize=10, weight="bold").set_in_layout(False)
    x, y, side = (left, first - line, "left") if narrow else (1 - left, first, "right")
    figure.text(x, y, detail, ha=side, va="top", color=BASE).set_in_layout(False)
    if legend:
        anchor = (left, first - (1 + narrow) * line + 0.02 / height)
        _legend(figure, legend, anchor)
    return figure


def _legend(figure: Figure, entries: Sequence[Artist], anchor: tuple[float, float]) -> None:
    figure.legend(
        handles=list(entries),
        loc="upper left",
        bbox_to_anchor=anchor,
        ncols=len(entries),
        borderaxespad=0.0,
        borderpad=0.0,
        columnspacing=1.6,
        handlelength=1.6,
    ).set_in_layout(False)


def key(label: str, colour: str, line: Any = "none", marker: str | None = None, filled: bool = True) -> Line2D:
    """Return an entry of a legend."""
    face = colour if filled else "white"
    return Line2D([], [], color=colour, linestyle=line, marker=marker, markersize=5, markerfacecolor=face, label=label)


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Write a PNG atomically, without the date and version that would make equal pictures differ."""
    with writing(path) as part:
        figure.savefig(part, format="png", dpi=dpi, metadata={"Software": None})


def panels(
    count: int, columns: int, size: tuple[float, float], title: str, detail: str, legend: Sequence[Artist] = ()
) -> tuple[Figure, list[Axes]]:
    """Return a picture of ``count`` panels of ``size`` inches that share axes, in even rows of at most ``columns``."""
    rows = -(-count // columns)
    columns = -(-count // rows)
    width = max(columns * size[0] + 0.35, _LEAST_WIDTH)
    figure = new_figure(width, rows * size[1] + 0.35, title, detail, legend)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes: list[Axes] = list(grid.ravel())
    for empty in axes[count:]:
        empty.set_visible(False)
    # With the last row not full, the panels above its gap are the lowest of their column and carry the numbers.
    for axis in axes[max(count - columns, 0) : count]:
        axis.tick_params(labelbottom=True)
    return figure, axes[:count]


def panel_title(axis: Axes, label: str, detail: str, stacked: bool) -> None:
    """Put the class name and its numbers above a panel: below each other, or at the two ends of one line."""
    if stacked:
        axis.set_title(shortened(label), weight="bold", pad=17)
        axis.annotate(detail, (0.5, 1), (0, 4), "axes fraction", "offset points", ha="center", va="bottom", fontsize=8)
    else:
        axis.set_title(label, loc="left", weight="bold")
        axis.set_title(detail, loc="right", fontsize=8)


def text_width(text: str) -> int:
    """Return the width of ``text`` in letters; Chinese and Japanese characters take two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def shortened(label: str, most: int = 18) -> str:
    """Return ``label``, cut with an ellipsis where it is wider than a panel."""
    if text_width(label) <= most:
        return label
    while text_width(label) >= most:
        label = label[:-1]
    return f"{label}…"


def note_absent(axis: Axes) -> None:
    """Say in the middle of a panel that there is nothing to draw."""
    axis.text(0.5, 0.5, "does not occur", transform=axis.transAxes, ha="center", va="center", color=BASE)
