"""A synthetic year (365 × 161 × 161, all 23 groups of raw files) becomes monthly files of all fields.

The raw files are made once (353 MB, some minutes). ``ISOBAR_BENCH`` names a folder with 2 GB free; they are kept there
and used again.
"""

import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.table import Figure, data_folder
from pipeline.testing import World, write_world

COMMAND = "python -m benchmarks derive"
YEAR = World(start=date(1995, 1, 1), days=365, lat_points=161, lon_points=161, groups=("all",), per="year")
PREDECESSOR = {"cpu": 18.0, "wall": 27.7, "rss": 2.2, "output": 1.84}
"""What the predecessor took for a synthetic year of this size on the machine of the first figures."""

_RUN = """
import resource, sys, time
began = time.perf_counter()
from pathlib import Path
from pipeline.core.interrupt import Interrupt
from pipeline.derive.config import DeriveConfig
from pipeline.derive.recipe import FIELDS
from pipeline.derive.stage import derive
raw, out = Path(sys.argv[1]), Path(sys.argv[2])
asked = {"ug", "vg", "vog", "tp_24h", "lsm"}
fields = [name for name in FIELDS if name not in asked]
config = DeriveConfig(raw=[str(raw / "*.nc")], fields=fields, workers=int(sys.argv[3]), one_file=sys.argv[4] == "1")
spec = derive(config, "bench", out, out, Interrupt())
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(part.ru_utime + part.ru_stime for part in used)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1e6
print(cpu, time.perf_counter() - began, peak, sum(piece.bytes for piece in spec.pieces) / 1e9, len(fields))
"""


def measure() -> list[Figure]:
    """Return CPU and wall seconds, peak memory and size of the output of one process."""
    with data_folder() as folder:
        return _measure(folder)


def _measure(folder: Path) -> list[Figure]:
    raw = folder / "year"
    if not (raw / "labels.csv").exists():
        write_world(YEAR, raw)
    runs = [_run(raw, 1) for _ in range(3)]
    cpu, wall, rss, output, fields = sorted(runs)[1]
    what = f"derive, a year of 161 × 161 points, {fields:.0f} fields, one process"
    before, promised = PREDECESSOR, {"cpu": 9.0, "rss": 1.0, "output": 1.1}
    return [
        Figure(f"{what}: CPU", f"{cpu:.1f} s", f"predecessor {before['cpu']} s; promised: ≤ {promised['cpu']:g} s",
               f"{cpu / promised['cpu']:.2f}", COMMAND),
        Figure(f"{what}: wall", f"{wall:.1f} s", f"predecessor {before['wall']} s", f"{wall / before['wall']:.2f}",
               COMMAND),
        Figure(f"{what}: peak memory", f"{rss:.2f} GB",
               f"predecessor {before['rss']} GB; promised: ≤ {promised['rss']:g} GB", f"{rss / promised['rss']:.2f}",
               COMMAND),
        Figure(f"{what}: output", f"{output:.2f} GB",
               f"predecessor {before['output']} GB; promised: ≤ {promised['output']:g} GB",
               f"{output / promised['output']:.2f}", COMMAND),
    ]  # fmt: skip


def _run(raw: Path, workers: int) -> tuple[float, ...]:
    """Derive in a process of its own and return CPU and wall seconds, peak memory and output in GB, and fields."""
    with tempfile.TemporaryDirectory(dir=raw.parent) as out:
        command = [sys.executable, "-c", _RUN, str(raw), f"{out}/derived", str(workers), "0"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return tuple(map(float, done.stdout.split()))
