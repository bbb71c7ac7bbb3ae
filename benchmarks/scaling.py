"""How time and memory grow with days, grid, channels, images and runs: each job by its command line, at doubling sizes.

Processor seconds include the start of the program, which is the flat part of a curve at its left end; the slope is that
of the last doubling. Pictures: docs/figures/scaling.png.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from benchmarks.table import Figure
from pipeline.testing import World, write_world
from tests.site.made_up import add_run

ROOT = Path(__file__).parents[1]
COMMAND = "python -m benchmarks scaling"
PICTURE = ROOT / "docs/figures/scaling.png"
CURVES = PICTURE.with_suffix(".json")
"""The numbers of the picture."""
FIELDS = ["msl", "msl_dt24", "grad_msl", "lap_msl"]
NAMES = ["msl", "u850", "v850", "t850", "q850", "r700", "gh500", "gh1000", "tcwv", "cape", "tcc", "lap_msl"]

_MEASURED = """
import json, resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    if end.code:
        raise
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([sum(part.ru_utime + part.ru_stime for part in used), peak / 1e3]))
"""

Words = Callable[[str], list[str]]


@dataclass(frozen=True)
class Curve:
    """Processor seconds and peak memory (MB) of a job at growing sizes."""

    job: str
    over: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    memory: tuple[float, ...]

    @property
    def slope(self) -> float:
        """The exponent by which time grows at the last step."""
        return math.log(self.seconds[-1] / self.seconds[-2]) / math.log(self.sizes[-1] / self.sizes[-2])


def measure() -> list[Figure]:
    """Return a line a curve, and draw them."""
    curves: list[Curve] = []
    for group in (_days, _points, _channels, _images, _runs):
        with tempfile.TemporaryDirectory() as place:
            curves += group(Path(place))
    CURVES.write_text(
        json.dumps([asdict(curve) for curve in curves], ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    draw(curves)
    return [_figure(curve) for curve in curves]


def _figure(curve: Curve) -> Figure:
    ends = (
        f"{curve.sizes[at]} {curve.over}: {curve.seconds[at]:.1f} CPU s, {curve.memory[at]:.0f} MB" for at in (0, -1)
    )
    return Figure(
        f"{curve.job} over {curve.over}", " → ".join(ends), "growth with size: time 1, memory 0 for what streams",
        f"time ∝ size^{curve.slope:.2f}; memory × {curve.memory[-1] / curve.memory[0]:.2f}", COMMAND,
    )  # fmt: skip


def _curves(
    over: str, sizes: Sequence[int], jobs: Sequence[str], home: Path, prepare: Callable[[int], Words]
) -> list[Curve]:
    """Return a curve a job; ``prepare`` writes the data of a size and returns what to type after which job."""
    found: dict[str, list[tuple[float, float]]] = {job: [] for job in jobs}
    for size in sizes:
        words = prepare(size)
        for job in jobs:
            found[job].append(run_job(job, words(job), home))
    return [Curve(job, over, tuple(sizes), *map(tuple, zip(*found[job], strict=True))) for job in jobs]  # type: ignore[arg-type]


def run_job(job: str, words: Sequence[str], home: Path) -> tuple[float, float]:
    """Run a job's script; return its processor seconds, children included, and its peak memory in MB."""
    command = [sys.executable, "-c", _MEASURED, str(ROOT / f"jobs/{job}.py"), *words]
    known = {**os.environ, "ISOBAR_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=known)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def _experiment(home: Path, name: str, fields: list[str], years: tuple[int, int, int]) -> Path:
    config = home / f"{name}.yaml"
    raw = home / "data/raw" / name
    first, second, third = years
    text = {
        "name": name,
        "derive": {"raw": [f"{raw}/*.nc"], "fields": fields, "workers": 1, "labels": {"files": [f"{raw}/labels.csv"]}},
        "store": {"split": {"train": [first], "val": [second], "test": [third]}},
        "train": {"epochs": 1, "memory_gb": 0.05, "threads": 1},
    }
    config.write_text(yaml.safe_dump(text), encoding="utf-8")
    return config


def _days(home: Path) -> list[Curve]:
    def prepare(years: int) -> Words:
        world = World(start=date(1991, 1, 1), days=365 * years, lat_points=41, lon_points=41, per="year")
        write_world(world, home / f"data/raw/years{years}")
        config = _experiment(home, f"years{years}", FIELDS, (1991, 1990 + years - 1, 1990 + years))
        split = {"train": list(range(1991, 1990 + years - 1)), "val": [1990 + years - 1], "test": [1990 + years]}
        raw = home / f"data/raw/years{years}"
        run, table = home / f"results/years{years}/latest", home / f"{years}.csv"
        predict = [str(run), str(raw), "--output", str(table), "predict.workers=1"]
        return lambda job: predict if job == "predict" else [str(config), f"store.split={json.dumps(split)}"]

    jobs = ("derive", "store", "train", "thresholds", "predict")
    curves = _curves("years of 41 × 41 points", (5, 10, 20, 40), jobs, home, prepare)
    # It is only needed by what comes after it: its one year of validation does not grow.
    return [curve for curve in curves if curve.job != "thresholds"]


def _points(home: Path) -> list[Curve]:
    def prepare(points: int) -> Words:
        world = World(start=date(1994, 12, 1), days=150, lat_points=points, lon_points=points, per="year")
        write_world(world, home / f"data/raw/grid{points}")
        config = _experiment(home, f"grid{points}", FIELDS, (1994, 1995, 1995))
        return lambda _: [str(config), "store.split.test=[]"]

    return _curves("points a side, 150 days", (60, 120, 240, 480), ("derive", "store"), home, prepare)


def _channels(home: Path) -> list[Curve]:
    world = World(start=date(1994, 7, 1), days=365, lat_points=81, lon_points=81, groups=("all",), per="year")
    write_world(world, home / "data/raw/channels")

    def prepare(count: int) -> Words:
        config = _experiment(home, "channels", NAMES[:count], (1994, 1995, 1995))
        named = config.rename(home / f"channels{count}.yaml")
        return lambda _: [str(named), f"name=channels{count}", "store.split.test=[]"]

    return _curves("channels, 365 days of 81 × 81", (1, 3, 6, 12), ("derive", "store"), home, prepare)


def _images(home: Path) -> list[Curve]:
    generator = np.random.default_rng(0)

    def prepare(count: int) -> Words:
        for split, part in (("train", 0.8), ("val", 0.2)):
            for number in range(round(count * part)):
                path = home / f"data/raw/images{count}/{split}/{'ab'[number % 2]}/{number:06d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(generator.integers(0, 255, (64, 64, 3), np.uint8)).save(path, compress_level=1)
        config = home / f"images{count}.yaml"
        raw = f"data/raw/images{count}"
        config.write_text(f"name: images{count}\nstore: {{images: {{train: {raw}/train, val: {raw}/val}}}}\n")
        return lambda _: [str(config)]

    return _curves("images of 64 × 64", (4000, 8000, 16000, 32000), ("store",), home, prepare)


def _runs(home: Path) -> list[Curve]:
    results = home / "results"

    def prepare(count: int) -> Words:
        for number in range(len(list(results.glob("*/*/run.json"))), count):
            add_run(results, f"made{number % 5}/simple-{number:08x}", f1=0.5 + number % 40 / 100, seed=number)
        shutil.rmtree(results / ".site", ignore_errors=True)
        return lambda _: [str(results)]

    return _curves("runs on the page", (50, 100, 200, 400), ("report",), home, prepare)


def draw(curves: Sequence[Curve]) -> None:
    """Draw a column for what grows: processor seconds above, peak memory below, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullFormatter

    columns = list(dict.fromkeys(curve.over for curve in curves))
    figure, axes = pyplot.subplots(2, len(columns), figsize=(3.1 * len(columns), 5.4), sharex="col", squeeze=False)
    colours = {
        "derive": "#1b6ca8",
        "store": "#d1495b",
        "train": "#3a7d44",
        "report": "#7b4b94",
        "predict": "#c77d0a",
    }
    for column, over in enumerate(columns):
        for curve in (curve for curve in curves if curve.over == over):
            look = {"marker": "o", "markersize": 4, "linewidth": 1.6, "color": colours[curve.job], "label": curve.job}
            axes[0, column].plot(curve.sizes, curve.seconds, **look)
            axes[1, column].plot(curve.sizes, curve.memory, **look)
        sizes = next(curve.sizes for curve in curves if curve.over == over)
        for row in axes[:, column]:
            row.set_xscale("log")
            row.set_xticks(sizes, [str(size) for size in sizes])
            row.minorticks_off()
            row.grid(color="0.9", linewidth=0.8)
            row.spines[["top", "right"]].set_visible(False)
        axes[0, column].set_yscale("log")
        axes[0, column].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[0, column].yaxis.set_major_formatter("{x:g}")
        axes[0, column].yaxis.set_minor_formatter(NullFormatter())
        axes[1, column].set_ylim(bottom=0)
        axes[1, column].set_xlabel(over)
        above = {"loc": "lower left", "bbox_to_anchor": (-0.03, 0.98), "ncols": 2, "columnspacing": 1.2}
        axes[0, column].legend(frameon=False, fontsize=9, **above)
    axes[0, 0].set_ylabel("processor seconds")
    axes[1, 0].set_ylabel("peak memory, MB")
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    pyplot.close(figure)
