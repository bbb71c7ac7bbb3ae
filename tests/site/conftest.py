"""A made-up folder of two hundred runs, built once, and one browser for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.site.build import build
from tests.site.browser import CHROMIUM, Browser
from tests.site.made_up import add_against, add_day, add_run, unfinished

BEST, SECOND, LOST = "demo/simple-00000007", "demo/simple-00000003", "demo/simple-000000c0"


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``results/`` with 200 runs in three experiments, and its site; treat as read-only."""
    results = tmp_path_factory.mktemp("many") / "results"
    for k in range(196):
        name = ("demo", "natlantic", "charts")[k % 20 // 9]
        add_run(results, f"{name}/simple-{k:08x}", 0.5 + 0.001 * (k * 37 % 190), seed=k % 12, epochs=30)
    add_run(results, BEST, 0.81, seed=7)
    add_run(results, SECOND, 0.79, seed=3)
    add_against(results, BEST, SECOND)
    running = {"status": "running", "epoch": 7, "heartbeat": "2026-11-20T03:12:00Z", "exit_code": None, "ended": None}
    unfinished(add_run(results, LOST), **running)
    unfinished(add_run(results, "demo/simple-000000c1"), status="failed", error="InputError: the loss became NaN")
    unfinished(add_run(results, "demo/simple-000000c2"), status="interrupted", error="Interrupted: stopped by SIGTERM")
    (add_run(results, "demo/simple-000000c3") / "run.json").write_text('{"schema_version": 1, "job": "tr')
    for day in range(1, 20):
        add_day(results, "demo", f"2026-10-{day:02d}", ["1", "2A"][: day % 3])
    build(results)
    return results


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that asks for English; tests that need another ask for it."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: pages are not opened (apt-get install chromium)")
    found = Browser(tmp_path_factory.mktemp("profile"), "--lang=en-GB", "--accept-lang=en-GB,en")
    yield found
    found.close()
