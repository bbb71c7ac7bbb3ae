"""Beginning with another run's weights, going back to a checkpoint, going on with another run's."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from pipeline.contract.store import Store
from pipeline.core.errors import InputError, Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.run import RunFolder
from pipeline.train.assemble import assemble
from pipeline.train.checkpoint import load_tensors
from pipeline.train.config import TrainConfig, start_versions
from pipeline.train.stage import train
from tests.stopping import StopAt
from tests.train.training import config, run_of, same, write_small

NONE = {"schedule": {"name": "none"}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and a finished run of three epochs."""
    place = tmp_path_factory.mktemp("start")
    write_small(place / "store")
    run_of(config(**NONE, select="last"), place / "store", place / "first")
    return place


def model(path: Path) -> dict[str, torch.Tensor]:
    return dict(load_tensors(path / "model.pt")["model"])


def start(place: Path, name: str, to: Path, **more: object) -> Path:
    """Train with ``start_from`` and paths relative to ``place``."""
    run = RunFolder(to)
    run.begin("x: 1\n")
    train(config(**({**NONE, "select": "last", "start_from": name} | more)), place / "store", run, Interrupt(), place)
    return run.path


def test_post_training_takes_the_weights_and_the_new_rates(place: Path, tmp_path: Path) -> None:
    """At a rate of nearly nothing the weights stay; at a new rate the first step moves them by about that rate."""
    still = start(place, "first", tmp_path / "still", epochs=1, optimizer={"lr": 1e-30, "weight_decay": 0})
    assert same(model(still), model(place / "first"))
    moved = start(place, "first", tmp_path / "moved", epochs=1, batch_size=96, optimizer={"lr": 1e-3})
    first, second = model(place / "first"), model(moved)
    largest = max(float((second[name] - first[name]).abs().max()) for name in first)
    assert largest == pytest.approx(1e-3, rel=0.05)
    history = json.loads((moved / "history.json").read_text())["epochs"]
    assert [(entry["epoch"], entry["lr"]) for entry in history] == [(1, 1e-3)]
    record = json.loads((moved / "run.json").read_text())
    assert record["model"]["start_from"] == str(place / "first" / "model.pt")


def test_it_begins_better_than_from_nothing(place: Path, tmp_path: Path) -> None:
    settings = config(epochs=1, **NONE, select="last")
    nothing = run_of(settings, place / "store", tmp_path / "nothing")[1].history[0]
    went_on = json.loads((start(place, "first", tmp_path / "on", epochs=1) / "history.json").read_text())["epochs"][0]
    assert went_on["train_loss"] < nothing["train_loss"]


def test_averaged_weights_start_from_there_as_well(place: Path, tmp_path: Path) -> None:
    """The average must not remember the weights that were drawn."""
    run = start(
        place, "first", tmp_path / "run", epochs=1, ema={"decay": 0.99}, optimizer={"lr": 1e-30, "weight_decay": 0}
    )
    assert same(model(run), model(place / "first"))


def test_from_a_checkpoint(place: Path, tmp_path: Path) -> None:
    run = start(
        place,
        "first/checkpoints/last.ckpt",
        tmp_path / "run",
        epochs=1,
        optimizer={"lr": 1e-30, "weight_decay": 0},
    )
    assert same(model(run), model(place / "first"))


def test_interrupted_it_goes_on_and_not_back(place: Path, tmp_path: Path) -> None:
    whole = start(place, "first", tmp_path / "whole")
    settings = config(**NONE, select="last", start_from="first")
    run = RunFolder(tmp_path / "cut")
    run.begin("x: 1\n")
    with pytest.raises(Interrupted):
        train(settings, place / "store", run, StopAt(8), place)
    train(settings, place / "store", run, Interrupt(), place)
    assert same(model(run.path), model(whole))


def test_the_head_is_drawn_anew_only_when_asked(place: Path, tmp_path: Path) -> None:
    quiet = {"epochs": 1, "optimizer": {"lr": 1e-30, "weight_decay": 0}}
    run = start(place, "first", tmp_path / "run", start_head="new", **quiet)
    first, new = model(place / "first"), model(run)
    drawn = assemble(config(), Store(place / "store")).module.state_dict()
    for name in first:
        expected = drawn if name.startswith("head.") else first
        assert torch.equal(new[name], expected[name]), name


@pytest.mark.parametrize(
    ("name", "more", "named"),
    [
        ("first", {"model": {"hidden": 8}}, r"of another shape .*train\.start_head=new"),
        ("first", {"model": {"backbone": "resnet_small", "hidden": 16}}, "missing"),
        ("none", {}, "none does not exist"),
        ("store", {}, "holds no model.pt, so its training is not finished"),
        ("store/index.csv", {}, r"neither a run folder nor one of \.pt"),
        ("first/checkpoints/best.ckpt", {}, r"does not exist; .*holds .*last\.ckpt"),
    ],
)
def test_what_does_not_fit(place: Path, tmp_path: Path, name: str, more: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        start(place, name, tmp_path / "run", **more)
    assert "\n" not in str(caught.value)


def test_other_channels_or_classes_of_the_same_number(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "store", tmp_path / "store")
    path = tmp_path / "store" / "store.json"
    shutil.copytree(place / "first", tmp_path / "first")
    spec = json.loads(path.read_text())
    spec["target"]["classes"] = ["A", "B", "C"]
    path.write_text(json.dumps(spec))
    with pytest.raises(InputError, match=r"has classes .* use train\.start_head=new"):
        start(tmp_path, "first", tmp_path / "run")
    start(tmp_path, "first", tmp_path / "new head", start_head="new", epochs=1)
    spec["inputs"]["grid"]["channels"] = ["x", "y"]
    path.write_text(json.dumps(spec))
    with pytest.raises(InputError, match=r"has channels .*'x'"):
        start(tmp_path, "first", tmp_path / "run2", start_head="new")


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("hostile-was-here",)


@pytest.mark.parametrize("key", ["start_from", "resume"])
def test_hostile_files_are_refused(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Hostile()}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="could run code"):
        run_of(config(**{key: "./x.ckpt"}), place / "store", tmp_path / "run")
    assert not (tmp_path / "hostile-was-here").exists()


def test_the_contents_and_not_the_place_are_in_the_signature(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "first", tmp_path / "elsewhere")
    here = start_versions(TrainConfig(start_from="first"), place)
    assert start_versions(TrainConfig(start_from=str(tmp_path / "elsewhere")), place) == here
    run_of(config(epochs=1), place / "store", tmp_path / "other")
    assert start_versions(TrainConfig(start_from="other"), tmp_path) != here
    assert start_versions(TrainConfig(), place) == {}
    assert set(start_versions(TrainConfig(resume="first/checkpoints/last.ckpt"), place)) == {"resume"}
    assert start_versions(TrainConfig(resume="epoch=00001-x.ckpt"), place) == {}


# --- resume --------------------------------------------------------------------------------------------------


def test_back_to_a_named_checkpoint_of_the_same_run(place: Path, tmp_path: Path) -> None:
    """Going back and training again ends with the same weights, also when that is interrupted."""
    settings = config(**NONE, keep_checkpoints=9, select="val_loss")
    run, _ = run_of(settings, place / "store", tmp_path / "run")
    names = sorted(path.name for path in (run.path / "checkpoints").glob("epoch=*"))
    assert len(names) == 3
    expected = (run.path / "model.pt").read_bytes()
    back = settings.model_copy(update={"resume": names[0]})
    with pytest.raises(Interrupted):
        train(back, place / "store", run, StopAt(8), tmp_path)
    assert load_tensors(run.path / "checkpoints" / "last.ckpt")["progress"]["epoch"] == 2, "stopped after going on"
    progress = train(back, place / "store", run, Interrupt(), tmp_path)
    assert [entry["epoch"] for entry in progress.history] == [1, 2, 3]
    assert (run.path / "model.pt").read_bytes() == expected


def test_a_missing_checkpoint_names_what_is_there(place: Path, tmp_path: Path) -> None:
    run, _ = run_of(config(epochs=1), place / "store", tmp_path / "run")
    with pytest.raises(
        InputError, match=r"train\.resume: .*none\.ckpt does not exist; .*holds epoch=00001.*last\.ckpt"
    ):
        train(config(epochs=1, resume="none.ckpt"), place / "store", run, Interrupt(), tmp_path)
    with pytest.raises(InputError, match="holds no checkpoint"):
        run_of(config(epochs=1, resume="none.ckpt"), place / "store", tmp_path / "fresh")


def resumed(place: Path, to: Path, **more: object) -> tuple[RunFolder, dict[str, object]]:
    run = RunFolder(to)
    run.begin("x: 1\n")
    settings = config(**({**NONE, "select": "last", "resume": "first/checkpoints/last.ckpt"} | more))
    train(settings, place / "store", run, Interrupt(), place)
    return run, json.loads((run.path / "history.json").read_text())


def test_more_epochs_go_on_where_another_run_ended(place: Path, tmp_path: Path) -> None:
    """With a constant rate, three epochs and three more are the same as six."""
    six, _ = run_of(config(**NONE, select="last", epochs=6), place / "store", tmp_path / "six")
    run, history = resumed(place, tmp_path / "run", epochs=6)
    assert same(model(run.path), model(six.path))
    assert [entry["epoch"] for entry in history["epochs"]] == [1, 2, 3, 4, 5, 6]  # type: ignore[index, union-attr]
    assert history["best_epoch"] == 6


def test_a_longer_cosine_goes_on_and_does_not_climb(place: Path, tmp_path: Path) -> None:
    cosine = {"name": "cosine"}
    run_of(config(schedule=cosine, select="last"), place / "store", tmp_path / "short")
    shutil.copytree(place / "store", tmp_path / "store")
    _, history = resumed(tmp_path, tmp_path / "run", epochs=6, schedule=cosine, resume="short/checkpoints/last.ckpt")
    rates = [entry["lr"] for entry in history["epochs"]]  # type: ignore[union-attr, index]
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[3:]))
    assert 0 < rates[3] < 1e-3


def test_the_best_is_chosen_among_the_epochs_of_this_run(place: Path, tmp_path: Path) -> None:
    run, history = resumed(place, tmp_path / "run", epochs=5, select="val_loss", optimizer={"lr": 1e-9})
    assert history["best_epoch"] in (4, 5)
    assert [path.name[:11] for path in (run.path / "checkpoints").glob("epoch=*")] == [
        f"epoch={history['best_epoch']:05d}"
    ]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"epochs": 3}, r"3 epochs behind it and train\.epochs is 3; raise"),
        ({"epochs": 6, "rates": {"by": "stages"}}, r"other groups of parameters .*start_from"),
        ({"epochs": 6, "model": {"hidden": 8}}, "of another shape"),
        ({"epochs": 6, "resume": "nowhere/checkpoints/last.ckpt"}, "does not exist"),
    ],
)
def test_what_cannot_be_gone_on_with(place: Path, tmp_path: Path, more: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        resumed(place, tmp_path / "run", **more)
