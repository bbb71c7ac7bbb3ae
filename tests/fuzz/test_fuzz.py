"""Readers of users' files never crash: whatever is in a file, it is read or refused in one line.

A fast profile runs always, a longer one with ``-m slow``. Files are small real ones with bytes changed, cut out, put in
or doubled, and texts made of what the format is made of.
"""

# ruff: noqa: E501 (a table: one case a line where it fits the eye)
from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.config import load
from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.derive.config import LabelFile
from pipeline.derive.labels import read_labels
from pipeline.experiment import Experiment
from pipeline.raw.reader import scan_members
from pipeline.store.images.names import parse_name
from pipeline.store.images.pixels import BrokenImage, decode, fit_of, header
from pipeline.store.images.series import read_series
from pipeline.store.sections.images import ImagesConfig
from pipeline.store.sections.series import SeriesConfig
from pipeline.testing import World, write_world
from tests.conftest import CONFIG
from tests.store.images.made_up_images import pixels, save, write_series

QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


def profile(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None, suppress_health_check=QUIET, database=None, derandomize=True)


Fuzz = Callable[[int], None]
CHANGES = st.lists(
    st.tuples(st.sampled_from(("set", "cut", "put", "twice", "end")), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=6,
)  # fmt: skip


def changed(data: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """Return the contents of a file with changes at shares of its length."""
    for kind, share, piece in changes:
        at = int(share * max(0, len(data) - 1))
        match kind:
            case "set":
                data = data[:at] + piece + data[at + len(piece) :]
            case "cut":
                data = data[:at] + data[at + 16 * len(piece) :]
            case "put":
                data = data[:at] + piece + data[at:]
            case "twice":
                data = data[:at] + data[at : at + 40] + data[at:]
            case _:
                data = data[:at]
    return data


def refuses_well(read: Callable[[], object], *named: str) -> None:
    """Read; what is raised must be one clear line that names the file."""
    try:
        read()
    except InputError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(lines)
        assert all(len(line) < 3000 for line in lines)
        assert any(name in lines[0] for name in named), lines[0]


WORDS = st.sampled_from(
    ["name", "derive", "store", "train", "epochs", "lr", "fields", "raw", "labels", "model", "[", "]", "{", "}", ":", ",", "-", "&", "*", "!", "|", ">", "'", '"', "#", "%", "@", "`", "?", "true", "null", "1", "1e9", ".inf", ".nan", "0x1f", "1:59", "2001-02-30", "2001-01-01T99:00", "~", "<<", "*a", "&a", "!!python/name:os", "!!binary", "!!set", "---", "..."]
) | st.sampled_from(["\n", "\n  ", "\n    ", "\t", " ", "\x00", "\ufeff", "é", "\u2028", "\x85"])  # fmt: skip


def fuzz_configs(folder: Path, examples: int) -> None:
    path = folder / "x.yaml"

    @profile(examples)
    @given(
        st.one_of(
            st.lists(WORDS, max_size=25).map("".join).map(str.encode),
            CHANGES.map(lambda c: changed(CONFIG.encode(), c)),
        )
    )
    def check(contents: bytes) -> None:
        path.write_bytes(contents)
        refuses_well(lambda: load(path, Experiment), "x.yaml")

    check()


def fuzz_overrides(folder: Path, examples: int) -> None:
    path = folder / "x.yaml"
    path.write_text("name: x\n")
    keys = st.sampled_from(
        ["train.epochs", "derive.fields", "store.split", "name", "train", "", "a.b.c", ".", "train..lr"]
    )

    @profile(examples)
    @given(keys, st.lists(WORDS, max_size=8).map("".join))
    def check(key: str, value: str) -> None:
        refuses_well(lambda: load(path, Experiment, [f"{key}={value}"]), "command line", "x.yaml")

    check()


def fuzz_labels(folder: Path, examples: int) -> None:
    path = folder / "labels.csv"
    cells = st.sampled_from(
        ["date", "label", ",", "\n", '"', "1995-01-01", "1995/1/2", "19950103", "1", "2A+3B", " ", "\x00", "\r", ";"]
    )
    whole = b'date,label\n1995-01-01,1\n1995-01-02,2A+3B\n1995-01-03,"4A"\n'

    @profile(examples)
    @given(
        st.one_of(st.lists(cells, max_size=30).map("".join).map(str.encode), CHANGES.map(lambda c: changed(whole, c)))
    )
    def check(contents: bytes) -> None:
        path.write_bytes(contents)

        def read() -> None:
            found = read_labels([path], LabelFile(files=[str(path)]))
            assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", day) and label.strip() for day, label in found.items())

        refuses_well(read, "labels.csv")

    check()


def fuzz_names(folder: Path, examples: int) -> None:
    parts = st.sampled_from(
        ["eur", "_", "15m", "1h", "20240131", "20240231", "0900", "2460", "label", "0", "12", ".png", ".PNG", "-", "é", ".", "winsize4"]
    )  # fmt: skip

    @profile(examples)
    @given(st.one_of(st.lists(parts, max_size=14).map("".join), st.text(max_size=40)))
    def check(name: str) -> None:
        found = parse_name(name)
        if found is not None:
            assert found.dataset

    check()


def fuzz_series(folder: Path, examples: int) -> None:
    path = folder / "rates.csv"
    whole = write_series(path, range(12)).read_bytes()
    config = SeriesConfig(files=["rates.csv"], window_size=3)

    @profile(examples)
    @given(CHANGES)
    def check(changes: list[tuple[str, float, bytes]]) -> None:
        path.write_bytes(changed(whole, changes))

        def read() -> None:
            for bars in read_series(config, folder, ("eur",)).of.values():
                assert (np.diff(bars.time) > 0).all()
                assert not np.isinf(bars.values).any()

        refuses_well(read, "rates.csv", "store.series")

    check()


def fuzz_netcdf(folder: Path, examples: int) -> None:
    wholes = []
    for layout in ("cds", "old"):
        world = World(days=4, lat_points=3, lon_points=3, layout=layout)
        wholes.append(write_world(world, folder / layout).files[0].read_bytes())
    path = folder / "x.nc"

    @profile(examples)
    @given(st.sampled_from(wholes), CHANGES)
    def check(whole: bytes, changes: list[tuple[str, float, bytes]]) -> None:
        path.write_bytes(changed(whole, changes))
        with suppress(EnvironmentFault):
            refuses_well(lambda: scan_members(path, ["msl"]), "x.nc")

    check()


def fuzz_images(folder: Path, examples: int) -> None:
    wholes = [
        save(folder / f"x{ending}", pixels(1)).read_bytes() for ending in (".png", ".jpg", ".bmp", ".webp", ".tiff")
    ]
    fit = fit_of(ImagesConfig(train="x", size=16, max_pixels=10_000))

    @profile(examples)
    @given(st.sampled_from(wholes), CHANGES)
    def check(whole: bytes, changes: list[tuple[str, float, bytes]]) -> None:
        data = changed(whole, changes)
        with suppress(BrokenImage):
            header(data, fit.max_pixels)
        with suppress(BrokenImage):
            assert decode(data, fit).values.shape == (16, 16, 3)

    check()


FUZZED: dict[str, tuple[Callable[[Path, int], None], int, int]] = {
    "configs": (fuzz_configs, 120, 4000),
    "overrides": (fuzz_overrides, 80, 3000),
    "labels": (fuzz_labels, 150, 6000),
    "names": (fuzz_names, 300, 10_000),
    "series": (fuzz_series, 80, 2500),
    "netcdf": (fuzz_netcdf, 60, 1500),
    "images": (fuzz_images, 80, 3000),
}
"""Reader → how it is fuzzed, examples of the fast and of the slow profile."""


@pytest.mark.parametrize("name", FUZZED)
def test_changed_files(name: str, tmp_path: Path) -> None:
    fuzz, few, _ = FUZZED[name]
    fuzz(tmp_path, few)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUZZED)
def test_many_changed_files(name: str, tmp_path: Path) -> None:
    fuzz, _, many = FUZZED[name]
    fuzz(tmp_path, many)
