"""Content from elsewhere cannot run code: what is planted in every kind of file that is loaded stays a file."""

# ruff: noqa: E501 (a table: one case a line where it fits the eye)
from __future__ import annotations

import io
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.core.artifact import sha256
from tests.badinput.case import Case, Place, both, edit_json
from tests.badinput.ground import Grounds, errors
from tests.badinput.runs import RUN, unfinish

MARK = "code-has-run"


class Bomb:
    """An object that, unpickled, makes a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._mark), "w")


def pickled(place: Place) -> bytes:
    return pickle.dumps({"format": 1, "progress": Bomb(place.home / MARK)})


def array(place: Place) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb(place.home / MARK)] * 3, dtype=object), allow_pickle=True)
    return buffer.getvalue()


def arrays(place: Place) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, logits=np.array([Bomb(place.home / MARK)], dtype=object))
    return buffer.getvalue()


def saved(place: Place) -> bytes:
    buffer = io.BytesIO()
    torch.save({"format": 1, "progress": {}, "identity": {}, "model": Bomb(place.home / MARK)}, buffer)
    return buffer.getvalue()


def plant(pattern: str, make: Callable[[Place], bytes]) -> Callable[[Place], None]:
    return lambda place: place.one(pattern).write_bytes(make(place)) and None


def plant_in_store(name: str) -> Callable[[Place], None]:
    """Plant an array of objects, and have the store's list of files say that it belongs there."""

    def spoil(place: Place) -> None:
        import json

        path = place.one(f"data/store/tiny/*/{name}")
        path.write_bytes(array(place))
        listing = path.with_name("store.json")
        value = json.loads(listing.read_text())
        value["files"][name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        listing.write_text(json.dumps(value))

    return spoil


def weights(make: Callable[[Place], bytes], suffix: str) -> Callable[[Place], list[str]]:
    def spoil(place: Place) -> list[str]:
        path = place.home / f"weights{suffix}"
        path.write_bytes(make(place))
        return [str(place.config), "train.model.backbone=resnet18", f"train.model.pretrained={path}"]

    return spoil


def yaml_tag(name: str) -> Callable[[Place], None]:
    def spoil(place: Place) -> None:
        with (place.home / name).open("a") as stream:
            stream.write(f"seed: !!python/object/apply:os.system ['touch {place.home / MARK}']\n")

    return spoil


def run_config(place: Place) -> None:
    yaml_tag(str(place.one(f"{RUN}/config.yaml").relative_to(place.home)))(place)


def journal(place: Place) -> None:
    """Search once, and put a pickle between the lines of its journal."""
    path = place.one("results/tiny/study-*/journal.log")
    path.write_bytes(path.read_bytes() + pickled(place).replace(b"\n", b"") + b"\n")


def loaded(name: str, job: str, spoil: object, *words: str, says: str = "", code: int = 2, **rest: object) -> Case:
    typed = words or ("./tiny.yaml",)
    return Case("code", name, job, says, words=typed, spoil=spoil, code=code, ground="trained", **rest)  # type: ignore[arg-type]


AGAIN = ("./tiny.yaml", "train.seed=7")
PREDICT = ("./results/tiny/latest", "./raw")
CASES = [
    loaded("checkpoint", "train", both(plant(f"{RUN}/checkpoints/last.ckpt", saved), unfinish), says="could run code"),
    loaded("plain pickle as checkpoint", "train", both(plant(f"{RUN}/checkpoints/last.ckpt", pickled), unfinish), says="last.ckpt"),
    loaded("model", "predict", plant(f"{RUN}/model.pt", saved), *PREDICT, says="could run code"),
    loaded("plain pickle as model", "predict", plant(f"{RUN}/model.pt", pickled), *PREDICT, says="model.pt"),
    loaded("weights", "train", weights(saved, ".pth"), says="cannot be read as weights"),
    loaded("plain pickle as weights", "train", weights(pickled, ".pt"), says="cannot be read as weights"),
    loaded("plain pickle as safetensors", "train", weights(pickled, ".safetensors"), says="cannot be read as weights"),
    loaded("predictions", "thresholds", plant(f"{RUN}/predictions_val.npz", arrays), "./tiny.yaml", "thresholds.beta=2", says="predictions_val"),
    loaded("targets", "train", plant_in_store("target.npy"), *AGAIN, says="target.npy"),
    loaded("maps", "train", plant_in_store("grid.npy"), *AGAIN, says="grid.npy"),
    loaded("moments", "store", plant("data/store/tiny/*/moments.npz", arrays), "./tiny.yaml", "store.split.train=[1994]", "store.split.test=[1995]", says="", code=-1),
    loaded("config", "train", yaml_tag("tiny.yaml"), says="not valid YAML: could not determine a constructor"),
    loaded("config of a run", "predict", run_config, *PREDICT, says="not valid YAML"),
    loaded("config of a search", "tune", yaml_tag("tune.yaml"), "./tune.yaml", says="not valid YAML"),
    loaded("setting on the command line", "train", lambda place: [str(place.config), f"train.seed=!!python/object/apply:os.system [touch {place.home / MARK}]"], says="train.seed"),
    loaded("run.json", "train", both(lambda place: place.one(f"{RUN}/run.json").write_bytes(pickled(place)) and None), says="run.json: not a readable JSON"),
    loaded("norm.json", "predict", both(lambda place: place.one(f"{RUN}/norm.json").write_bytes(pickled(place)) and None), *PREDICT, says="norm.json"),
    loaded("thresholds.json", "evaluate", edit_json(f"{RUN}/thresholds.json", labels="!!python/object"), "./tiny.yaml", "evaluate.bootstrap=30", says="thresholds.json"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_code_in_files_does_not_run(case: Case, grounds: Grounds, tmp_path: Path) -> None:
    place = grounds.copy(case.ground, tmp_path / "place")
    words = case.spoil(place) if case.spoil else None
    ended = grounds.run(place, case.job, *(case.words if words is None else words))
    assert not (place.home / MARK).exists()
    assert "Traceback" not in ended.text, ended.text
    if case.code >= 0:
        assert ended.code == case.code, ended.text
        assert any(case.says in line for line in errors(ended)), ended.text


def test_the_plants_do_run_where_pickles_are_trusted(tmp_path: Path) -> None:
    """The proof that the tests above can fail."""
    place = Place(tmp_path)
    for make in (pickled, saved):
        (tmp_path / "x.pt").write_bytes(make(place))
        with suppress(RuntimeError):  # code runs before the contents are found wanting
            torch.load(tmp_path / "x.pt", weights_only=False)
        assert (tmp_path / MARK).exists()
        (tmp_path / MARK).unlink()
    for make in (array, arrays):
        (tmp_path / "x.np").write_bytes(make(place))
        found = np.load(tmp_path / "x.np", allow_pickle=True)
        if not isinstance(found, np.ndarray):
            found["logits"]
        assert (tmp_path / MARK).exists()
        (tmp_path / MARK).unlink()


@pytest.mark.slow
def test_a_pickle_in_a_journal_of_a_search(grounds: Grounds, tmp_path: Path) -> None:
    place = grounds.copy("trained", tmp_path / "place")
    assert grounds.run(place, "tune", "./tune.yaml").code == 0
    journal(place)
    ended = grounds.run(place, "tune", "./tune.yaml", "study.n_trials=3")
    assert not (place.home / MARK).exists()
    assert (ended.code, "Traceback" in ended.text) == (1, False), ended.text
    assert "journal.log" in errors(ended)[0]


@pytest.mark.slow
def test_pickles_in_a_database_of_a_search(grounds: Grounds, tmp_path: Path) -> None:
    """Optuna keeps values as JSON; a pickle in the place of one is told, or not looked at."""
    place = grounds.copy("trained", tmp_path / "place")
    words = ("./tune.yaml", "storage.kind=sqlite")
    assert grounds.run(place, "tune", *words).code == 0
    with sqlite3.connect(place.one("results/tiny/study-*/study.db")) as base:
        for table in ("study_user_attributes", "trial_user_attributes", "trial_system_attributes"):
            base.execute(f"update {table} set value_json = ?", (pickled(place),))
    ended = grounds.run(place, "tune", *words, "study.n_trials=3")
    assert not (place.home / MARK).exists()
    assert (ended.code, "Traceback" in ended.text) == (1, False), ended.text
    assert "study.db: cannot be read as a study" in errors(ended)[0]
