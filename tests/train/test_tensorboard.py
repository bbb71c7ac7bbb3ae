"""Logs for TensorBoard, read back as TensorBoard reads them."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.core.config import signature
from pipeline.core.run import RunFolder
from pipeline.train import keeper, tensorboard
from pipeline.train.checkpoint import Progress
from pipeline.train.config import TrainConfig
from pipeline.train.history import rows
from tests.train.stores import marked_images, write_images
from tests.train.training import config, run_of, write_small

ALL = {"images": 3, "graph": True, "histograms": 2}
RATES = {"by": "layers", "layer_rates": {"layers": 1e-4, "fc": 1e-2}}
SERIES = {"dim": 8, "heads": 2, "layers": 1, "feedforward": 16}
SMALL = {"backbone": "simple", "hidden": 16}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("board") / "store")


def read(run: RunFolder) -> EventAccumulator:
    found = EventAccumulator(str(run.path / "tensorboard"), {"scalars": 0, "images": 0, "histograms": 0})
    found.Reload()
    return found


def steps(run: RunFolder, tag: str = "train_loss") -> list[int]:
    return [point.step for point in read(run).Scalars(tag)]


def expected(settings: TrainConfig, progress: Progress) -> dict[str, list[tuple[int, float]]]:
    """Return the points of each tag by the history, as float32."""
    fixed = None if settings.rates.by == "one" else settings.optimizer.lr
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows(progress.history, fixed):
        for name, value in row.items():
            if name != "epoch":
                found.setdefault(name, []).append((int(row["epoch"]), float(np.float32(value))))
    return found


def points(run: RunFolder) -> dict[str, list[tuple[int, float]]]:
    board = read(run)
    return {tag: [(point.step, point.value) for point in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def test_scalars_of_every_epoch_without_being_asked(store: Path, tmp_path: Path) -> None:
    settings = config(epochs=3, rates=RATES)
    run, progress = run_of(settings, store, tmp_path / "run")
    found = points(run)
    assert {"train_loss", "val_loss", "train_f1", "val_f1", "learning_rate", "lr_layers", "lr_fc"} <= found.keys()
    assert found == expected(settings, progress)
    with (run.path / "metrics.csv").open() as stream:
        assert {name for name in next(csv.DictReader(stream)) if name != "epoch"} == found.keys()
    tags = read(run).Tags()
    assert not tags["images"] + tags["histograms"]
    assert not tags["graph"]


def test_nothing_is_written_or_imported_when_off(store: Path, tmp_path: Path) -> None:
    run, _ = run_of(config(epochs=1, tensorboard={"scalars": False}), store, tmp_path / "run")
    assert not (run.path / "tensorboard").exists()
    for path in Path(tensorboard.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith(("tensorboard", "torch.utils.tensorboard")) for name in names), path


def test_they_change_neither_weights_nor_signature(store: Path, tmp_path: Path) -> None:
    plain, all_of_it = (config(epochs=2, tensorboard=more) for more in ({"scalars": False}, ALL))
    assert signature(plain) == signature(all_of_it)
    left, right = (run_of(one, store, tmp_path / name)[0] for name, one in (("left", plain), ("right", all_of_it)))
    assert (left.path / "model.pt").read_bytes() == (right.path / "model.pt").read_bytes()


def test_images_graph_and_histograms(tmp_path: Path) -> None:
    images, label = marked_images(60, 3, 18)
    series = np.random.default_rng(0).standard_normal((60, 6, 2)).astype(np.float32)
    write_images(tmp_path / "charts", images, label, series)
    model = {**SMALL, "series": SERIES, "fusion": "cross_attention"}
    flips = {"transforms": [{"RandomHorizontalFlip": {"p": 1.0}}]}
    settings = config(epochs=4, model=model, augment=flips, tensorboard=ALL)
    run, progress = run_of(settings, tmp_path / "charts", tmp_path / "run")
    board = read(run)
    tags = board.Tags()
    assert sorted(tags["images"]) == ["samples/image", "samples/series"]
    (picture,) = board.Images("samples/image")
    # 18 pixels six times enlarged, with seams of 2; three samples below each other.
    assert (picture.step, picture.width, picture.height) == (0, 112, 3 * 112)
    assert tags["graph"]
    assert len(board.Graph().node) > 50
    named = {tag.partition("/")[2] for tag in tags["histograms"] if tag.startswith("weights/")}
    assert named == {tag.partition("/")[2] for tag in tags["histograms"] if tag.startswith("gradients/")}
    assert "head.0.weight" in named
    for kind in ("weights", "gradients"):
        found = board.Histograms(f"{kind}/head.0.weight")
        assert [point.step for point in found] == [2, 4]
        assert all(point.histogram_value.num > 0 for point in found)
        assert max(point.histogram_value.max for point in found) > 0
    assert points(run) == expected(settings, progress)


def test_maps_are_shown_channel_by_channel(store: Path, tmp_path: Path) -> None:
    run, _ = run_of(config(epochs=1, tensorboard={"images": 2}), store, tmp_path / "run")
    (picture,) = read(run).Images("samples/grid")
    assert (picture.width, picture.height) == (2 * (9 * 11 + 4), 2 * (9 * 11 + 4)), "two samples of two channels"


def test_an_epoch_that_is_trained_again_is_there_once(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the log of an epoch and its checkpoint, with half a record on disk, and the clock set back."""
    settings = config(epochs=4, tensorboard=ALL)
    save, saved = keeper.save_checkpoint, list[int]()

    def killed(path: Path, progress: Progress, *more: object) -> None:
        saved.append(progress.epoch)
        if len(saved) == 3:
            raise KeyboardInterrupt
        save(path, progress, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(keeper, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        run_of(settings, store, tmp_path / "run")
    assert steps(RunFolder(tmp_path / "run")) == [1, 2, 3]
    (first,) = (tmp_path / "run" / "tensorboard").iterdir()
    with first.open("ab") as stream:
        stream.write(first.read_bytes()[:31])
    monkeypatch.setattr(tensorboard.time, "time", lambda: 1e9)
    run, progress = run_of(settings, store, tmp_path / "run")
    assert min(path.name for path in (run.path / "tensorboard").iterdir()) == first.name
    assert points(run) == expected(settings, progress)
    assert steps(run) == [1, 2, 3, 4]
    board = read(run)
    assert [point.step for point in board.Histograms("weights/head.0.weight")] == [2, 4]
    assert [point.step for point in board.Images("samples/grid")] == [0]


def test_killed_before_the_first_checkpoint(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*everything: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(keeper, "save_checkpoint", killed)
        run_of(config(epochs=2, tensorboard=ALL), store, tmp_path / "run")
    run, _ = run_of(config(epochs=2, tensorboard=ALL), store, tmp_path / "run")
    assert steps(run) == [1, 2]
    assert [point.step for point in read(run).Images("samples/grid")] == [0]


def test_epochs_that_were_not_logged_are_logged_when_it_goes_on(store: Path, tmp_path: Path) -> None:
    settings = config(epochs=2, tensorboard={"scalars": False})
    run_of(settings, store, tmp_path / "run")
    longer = config(epochs=4, resume="run/checkpoints/last.ckpt")
    further, progress = run_of(longer, store, tmp_path / "longer")
    assert points(further) == expected(longer, progress)
    assert steps(further) == [1, 2, 3, 4]


def test_scores_that_were_not_measured_have_no_points(tmp_path: Path) -> None:
    without = write_small(tmp_path / "store", shares=(0.8, 0.0, 0.2))
    run, _ = run_of(config(epochs=1, select="last", schedule={"name": "none"}), without, tmp_path / "run")
    assert set(points(run)) == {"learning_rate", "train_loss", "train_f1"}
