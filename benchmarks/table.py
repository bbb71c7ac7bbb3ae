"""One measured figure, and the table of them in docs/benchmarks.md."""

import datetime
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Figure:
    """What was measured, the value, what it is compared with and the ratio."""

    what: str
    value: str
    against: str
    ratio: str
    command: str


@contextmanager
def data_folder() -> Iterator[Path]:
    """Yield the folder of large made-up data: ``ISOBAR_BENCH``, kept and used again, else a temporary one."""
    kept = os.environ.get("ISOBAR_BENCH")
    if kept:
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def write_page(figures: Sequence[Figure]) -> None:
    """Write the table with date and machine; figures of benchmarks that did not run stay as they are."""
    kept = {} if not PAGE.exists() else {row.split("|")[1].strip(): row for row in _rows(PAGE.read_text())}
    for figure in figures:
        cells = (figure.what, figure.value, figure.against, figure.ratio, f"`{figure.command}`, {_today()}")
        kept[figure.what] = "| " + " | ".join(cells) + " |"
    head = [
        "# Benchmarks",
        "",
        "Measured by `make bench` (or the command in the last column), as ratios within one run.",
        f"Machine: {_machine()}.",
        "",
        "| what | measured | against | ratio | command, date |",
        "|---|---|---|---|---|",
    ]
    growth = ["", "How each job grows, by `python -m benchmarks scaling`:", "", "![growth](figures/scaling.png)"]
    PAGE.write_text("\n".join([*head, *kept.values(), *growth]) + "\n")


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what")]


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def _machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, CPU only"
