"""jobs/store.py on images, through its real command line, and the sheet of --check."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.contract.store import Store
from pipeline.store.images.check import check_images
from pipeline.store.images.sheet import COLOURS
from tests.store.images.made_up_images import name_of, pixels, save, settings, time_of, write_charts, write_series

ROOT = Path(__file__).parents[3]
CONFIG = """\
name: made_up
store:
  images: {datasets: [eur_15m_winsize4]}
  series: {files: [rates.csv], window_size: 5}
"""


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "jobs" / "store.py"), str(home / "made_up.yaml"), *arguments]
    environment = os.environ | {"ISOBAR_HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "made_up.yaml").write_text(CONFIG)
    write_charts(tmp_path)
    write_series(tmp_path / "rates.csv", range(110))
    return tmp_path


def test_the_job_builds_says_what_is_next_and_is_fresh_afterwards(home: Path) -> None:
    first = run(home)
    assert first.returncode == 0, first.stderr
    assert "80 images, 2024-01-01 to 2024-01-02" in first.stdout
    assert "wrote: " in first.stderr
    assert "(80 samples of image 3 × 16 × 24, series 5 × 2)" in first.stderr
    assert f"next: python jobs/train.py {home / 'made_up.yaml'}" in first.stderr
    second = run(home)
    assert second.returncode == 0
    assert "fresh already" in second.stderr
    assert second.stdout == first.stdout
    (folder,) = [path for path in (home / "data/store/made_up").iterdir() if path.is_dir()]
    assert Store(folder).spec.dataset == "made_up"


def test_bad_input_ends_with_one_line_and_code_2(home: Path) -> None:
    for override, message in (
        ("store.series.offset=1", "offset 1 reads rows after the image's time"),
        ("store.series.window_size=0", "store.series.window_size"),
        ("store.images.datasets=[nowhere]", "nowhere: no such folder"),
        ("store.split.by=kfolds", "did you mean 'kfold'"),
    ):
        ended = run(home, override)
        assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
        assert message in ended.stderr
        assert ended.stderr.count(" ERROR ") == 1
    assert not (home / "data").exists()


def test_check_shows_and_stores_nothing(home: Path) -> None:
    ended = run(home, "--check")
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in (home / "data/store/made_up").iterdir()] == ["check.png"]
    assert "height × width: 16 × 24 (80 files)" in ended.stdout
    assert "format and mode: PNG RGB (80 files)" in ended.stdout
    assert "checked, nothing is stored" in ended.stderr
    lines = ended.stdout.splitlines()
    aligned = lines[[line.startswith("time of the image") for line in lines].index(True) + 1 :]
    assert len(aligned) == 10
    last = aligned[-1].split()
    stamps = [f"{time_of(bar):%Y-%m-%dT%H:%M:%S}Z" for bar in (99, 95, 99)]
    assert last == [*stamps, "5", f"eur_15m_winsize4/test/Up/{name_of(99, 0)}"]


def test_the_sheet_frames_each_image_with_its_split_and_shows_it(home: Path) -> None:
    grey = np.full((16, 24, 3), 77, np.uint8)
    for path in (home / "eur_15m_winsize4").rglob("*.png"):
        save(path, grey)
    (home / "eur_15m_winsize4/train/Up" / name_of(0, 0)).write_bytes(b"not an image")
    text, sheet = check_images(settings({"datasets": ["eur_15m_winsize4"]}), home / "store", home, "made_up")
    assert "cannot be read: 1 files: " in text
    with Image.open(sheet) as image:
        seen = np.asarray(image.convert("RGB")).reshape(-1, 3)
    shown = 3 * 8 - 1
    assert (seen == 77).all(axis=1).sum() == pytest.approx(shown * 96 * 64, rel=0.01)
    for split, count in (("train", 12), ("val", 6), ("test", 6)):
        colour = tuple(int(COLOURS[split][place : place + 2], 16) for place in (1, 3, 5))
        frame = 2 * 3 * (96 + 64 + 6)
        legend = 12 * 12
        assert (seen == colour).all(axis=1).sum() == count * frame + legend, split


def test_a_sheet_of_tiny_tall_and_strange_images(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / "train" / f"数{number % 2}" / f"{number}.png", pixels(number, 8, 8))
    save(tmp_path / "train" / "tall" / "a.png", pixels(0, 400, 20))
    config = settings({"train": "train"}, split={"by": "random"})
    text, sheet = check_images(config, tmp_path / "store", tmp_path, "手書き")
    assert "height × width: 8 × 8 (12 files), 400 × 20 (1 files)" in text
    with Image.open(sheet) as image:
        assert image.width < 2000
        assert image.height < 1000
