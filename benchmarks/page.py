"""The page of all results: its weight, what building it costs, and how soon a browser has drawn it."""

import re
import tempfile
from pathlib import Path

from benchmarks.scaling import run_job
from benchmarks.table import Figure
from tests.site.browser import CHROMIUM, Browser
from tests.site.made_up import write_many

COMMAND = "python -m benchmarks page"
_LOADED = re.compile(r'(?:src|href)="([^"#:]+\.(?:js|css))"')
_MB = 1e6


def measure() -> list[Figure]:
    """Return weight and times for 200 runs with reports and curves."""
    with tempfile.TemporaryDirectory() as place:
        results = Path(place) / "results"
        write_many(results)
        (new, peak), (again, _) = (run_job("report", [str(results)], Path(place)) for _ in range(2))
        pages = [path for path in results.rglob("*") if path.suffix in (".html", ".js", ".css")]
        weight = sum(path.stat().st_size for path in pages) / _MB
        first = results / "index.html"
        loaded = [first, *(results / name for name in _LOADED.findall(first.read_text(encoding="utf-8")))]
        light = sum(path.stat().st_size for path in loaded) / _MB
        figures = [
            Figure("page of 200 runs: all files", f"{weight:.2f} MB", "promised: < 2 MB", f"{weight / 2:.2f}", COMMAND),
            Figure(
                "page of 200 runs: built again, nothing changed", f"{again:.1f} CPU s",
                f"from nothing: {new:.1f} CPU s, {peak:.0f} MB", f"{again / new:.2f}", COMMAND,
            ),
        ]  # fmt: skip
        if CHROMIUM is not None:
            bare, drawn = _drawn(first, Path(place))
            what = "page of 200 runs: first page, drawn by Chromium"
            against = f"an empty page: {bare:.0f} ms"
            figures.append(Figure(what, f"{drawn:.0f} ms ({light:.2f} MB)", against, f"{drawn / bare:.1f}", COMMAND))
        return figures


def _drawn(page: Path, place: Path) -> tuple[float, float]:
    """Return the milliseconds to the end of loading of an empty page and of ``page``, medians of five."""
    empty = place / "empty.html"
    empty.write_text("<!doctype html><title>nothing</title>")
    browser = Browser(place / "profile")
    try:
        return tuple(sorted(browser.open(one) for _ in range(5))[2] for one in (empty, page))  # type: ignore[return-value]
    finally:
        browser.close()
