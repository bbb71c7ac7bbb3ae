"""Run all benchmarks, or those named, and write docs/benchmarks.md.

python -m benchmarks
python -m benchmarks engine start
"""

import importlib
import sys

from benchmarks.table import write_page

ALL = ("engine", "start", "full_size", "derive", "accuracy", "charts", "tune", "decide", "page", "submit", "scaling")


def main() -> None:
    """Measure, print and write the figures."""
    for name in sys.argv[1:] or ALL:
        if name not in ALL:
            sys.exit(f"command line: no benchmark {name!r}; there are {', '.join(ALL)}")
        figures = importlib.import_module(f"benchmarks.{name}").measure()
        for figure in figures:
            print(f"{figure.what}: {figure.value} against {figure.against}: ratio {figure.ratio}", flush=True)
        write_page(figures)  # what is measured stays measured, whatever becomes of the next one


if __name__ == "__main__":
    main()
