"""Every input that a user can get wrong: one clear line, the right exit code, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.testing import plant
from tests.conftest import Place, run_job

Spoil = Callable[[Place], list[str] | None]


@dataclass(frozen=True)
class Case:
    """What is wrong, the job that meets it, how it is brought about, and what must be said."""

    name: str
    job: str
    says: str
    arguments: tuple[str, ...] = ()
    spoil: Spoil | None = None
    """Changes the place; may return the arguments (instead of the config and ``arguments``)."""
    code: int = 2


def text(name: str, contents: str) -> Spoil:
    return lambda place: (place.home / name).write_text(contents, encoding="utf-8") and None


def append(name: str, contents: str) -> Spoil:
    def spoil(place: Place) -> None:
        with (place.home / name).open("a", encoding="utf-8") as stream:
            stream.write(contents)

    return spoil


def fault(name: str) -> Spoil:
    return lambda place: plant(name, place.raw) and None


def labels(change: Callable[[str], str]) -> Spoil:
    def spoil(place: Place) -> None:
        path = place.raw / "labels.csv"
        path.write_text(change(path.read_text()))

    return spoil


def missing_config(place: Place) -> list[str]:
    return [str(place.home / "tini.yaml")]


def cut(pattern: str) -> Spoil:
    def spoil(place: Place) -> None:
        path = place.one(pattern)
        os.truncate(path, path.stat().st_size // 2)

    return spoil


def edit_json(pattern: str, **changes: object) -> Spoil:
    def spoil(place: Place) -> None:
        path = place.one(pattern)
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def other_channels(place: Place) -> None:
    """Put a checkpoint of another channel list where the run expects its own."""
    import torch

    path = place.one("results/tiny/simple-*/checkpoints/last.ckpt")
    value = torch.load(path, weights_only=True)
    value["identity"]["channels"]["grid"] = ["t850"]
    torch.save(value, path)
    unfinish(place)


def unfinish(place: Place) -> None:
    edit_json("results/tiny/simple-*/run.json", status="interrupted")(place)


def cut_checkpoint(place: Place) -> None:
    cut("results/tiny/simple-*/checkpoints/last.ckpt")(place)
    unfinish(place)


def broken_predictions(place: Place) -> list[str]:
    cut("results/tiny/simple-*/predictions_val.npz")(place)
    return [str(place.one("results/tiny/simple-*")), "thresholds.beta=2"]


def leaving_config(place: Place) -> list[str]:
    path = place.home / "leave.py"
    path.write_text("name = 'x'\nraise SystemExit(3)\n")
    return [str(path)]


def one_validation_day(place: Place) -> None:
    """Leave labels on a single day of the validation year."""
    labels(lambda text: re.sub(r"\n1996-(?!02-01).*", "", text))(place)
    for job in ("derive", "store", "train"):
        assert run_job(job, place.config).code == 0


def other_settings_for_a_run(place: Place) -> list[str]:
    return [str(place.one("results/tiny/simple-*")), "train.seed=77"]


def another_store(place: Place) -> list[str]:
    """Relabel a training day after the training: the run was made from another store than its config leads to."""
    run = place.one("results/tiny/simple-*")
    labels(lambda text: re.sub(r"\n1995-05-05,.*", "\n1995-05-05,1+5", text))(place)
    for job in ("derive", "store"):
        assert run_job(job, place.config).code == 0
    return [str(run)]


def not_a_run(place: Place) -> list[str]:
    return [str(place.raw)]


def constant_field(place: Place) -> list[str]:
    return [str(place.config), "store.region={south: 50, north: 55, west: 115, east: 120}", "store.coarsen=9"]


CONFIG_CASES: list[Case] = [
    Case("unknown key", "train", r"command line: train\.epoch: unknown key; did you mean 'epochs'", ("train.epoch=3",)),
    Case(
        "unknown key in the file",
        "train",
        r"tiny\.yaml:\d+: trian: unknown key; did you mean 'train'",
        spoil=append("tiny.yaml", "trian: {}\n"),
    ),
    Case("wrong type", "train", r"train\.epochs: should be a valid integer.*found 'many'", ("train.epochs=many",)),
    Case(
        "out of range", "train", r"train\.optimizer\.lr: should be greater than 0, found -1", ("train.optimizer.lr=-1",)
    ),
    Case(
        "unknown name",
        "train",
        r"train\.loss\.kind: unknown name 'focall'; did you mean 'focal'",
        ("train.loss.kind=focall",),
    ),
    Case("no such config", "train", r"tini\.yaml: no such config; did you mean .*tiny\.yaml", spoil=missing_config),
    Case("broken YAML", "derive", r"tiny\.yaml:\d+: not valid YAML", spoil=append("tiny.yaml", "a: [1\n")),
    Case(
        "key written twice",
        "derive",
        r"tiny\.yaml:\d+: name: written twice, first in line 1",
        spoil=append("tiny.yaml", "name: b\n"),
    ),
    Case("override without =", "derive", r"expected key\.sub=value", ("derive.raw",)),
    Case("year in two splits", "store", r"year 1995 is in train and in test", ("store.split.test=[1995]",)),
    Case("micro-batches that do not divide", "train", r"batch_size 32 is not divisible by 5", ("train.accumulate=5",)),
    Case("name that leaves its folder", "derive", r"name: string should match pattern", ("name=../x",)),
    Case("no config", "derive", r"no config given", spoil=lambda place: []),
    Case("unknown option", "derive", r"unrecognized arguments: --fast", ("--fast",)),
]

CONFIG_CASES += [
    Case(
        "a date that is none",
        "derive",
        r"tiny\.yaml: a value that looks like a date is none",
        spoil=append("tiny.yaml", "dataset: 2001-02-30\n"),
    ),
    Case("a number too large", "derive", r"train\.seed: should be less than", ("train.seed=99999999999999999999",)),
    Case(
        "a Python config that leaves", "derive", r"leave\.py:2: the config raised SystemExit: 3", spoil=leaving_config
    ),
    Case(
        "output below a file",
        "derive",
        r"cannot make this folder",
        spoil=lambda place: [str(place.config), f"data={place.config}"],
        code=1,
    ),
]

RAW_CASES = [
    Case("raw file missing", "derive", r"derive\.raw: .*nothing\.nc", ("derive.raw=[nothing.nc]",)),
    Case(
        "truncated NetCDF",
        "derive",
        r"era5_msl_\S+\.nc: .*(truncated|cannot be read|damaged)",
        spoil=fault("truncated_file"),
    ),
    Case("text named .nc", "derive", r"x\.nc: .*not a? ?NetCDF", spoil=text("raw/x.nc", "hello")),
    Case("NaN", "derive", r"'msl' is missing or infinite in 1 cells, first at 1995", spoil=fault("nan")),
    Case("inf", "derive", r"'msl' is missing or infinite in 1 cells", spoil=fault("inf")),
    Case(
        "values of other units than said",
        "derive",
        r"'msl' is \d+\.\d+ Pa at .*lies within 85000",
        spoil=fault("mislabelled_units"),
    ),
    Case("no units", "derive", r"msl.*units", spoil=fault("missing_units")),
    Case("a time twice", "derive", r"(twice|duplicate)", spoil=fault("duplicate_times")),
    Case("unknown field", "derive", r"derive\.fields.*'msll'; did you mean 'msl'", ("derive.fields=[msll]",)),
    Case("unknown time zone", "derive", r"derive\.timezone.*Asia/Tokio", ("derive.timezone=Asia/Tokio",)),
    Case("label file missing", "derive", r"nolabels\.csv", ("derive.labels.files=[nolabels.csv]",)),
    Case("label column missing", "derive", r"labels\.csv.*'type'", ("derive.labels.label_column=type",)),
    Case("unreadable date", "derive", r"labels\.csv:\d+: .*1995-02-31", spoil=labels(lambda t: t + "1995-02-31,1\n")),
    Case(
        "two labels for a day",
        "derive",
        r"labels\.csv:\d+: .*1995-01-01",
        spoil=labels(lambda t: t + "1995-01-01,6C\n"),
    ),
    Case("labels of other years", "derive", r"(no|none).*label", spoil=labels(lambda t: re.sub(r"\n19", "\n18", t))),
]

STORE_CASES = [
    Case("channel missing", "store", r"store\.channels.*t850.*msl", ("store.channels=[t850]",)),
    Case("scalar missing", "store", r"store\.scalars.*moon.*f1_season", ("store.scalars=[moon]",)),
    Case("unknown label token", "store", r"'5'.*199\d-\d\d-\d\d", ("store.target.classes=['1','2A','3B','4A']",)),
    Case("empty split", "store", r"2005.*(199\d)", ("store.split.train=[2005]",)),
    Case("no validation years", "store", r"val", ("store.split.val=[]",)),
    Case("region outside", "store", r"store\.region", ("store.region={south: -40, north: -30, west: 0, east: 10}",)),
    Case("coarser than the map", "store", r"store\.coarsen", ("store.coarsen=20",)),
    Case(
        "other label files than were derived",
        "store",
        r"derived from raw/\*\.nc, raw/labels\.csv, the config names .*other\.csv",
        ("derive.labels.files=[other.csv]",),
    ),
    Case("store before derive", "store", r"manifest\.json: no such file; run the stage", ("dataset=other",)),
    Case(
        "derived by another program version",
        "store",
        r"format 99, this program reads \d",
        spoil=edit_json("data/derived/*/manifest.json", format=99),
    ),
    Case(
        "derived file truncated",
        "store",
        r"1995-\d\d\.nc: \d+ bytes, expected",
        ("store.dtype=float16",),
        spoil=cut("data/derived/*/1995-06.nc"),
    ),
]

TRAIN_CASES = [
    Case("no store yet", "train", r"no store yet; run jobs/store\.py", ("store.dtype=float16",)),
    Case(
        "unknown backbone",
        "train",
        r"train\.model\.backbone.*'resnet_smal'; did you mean 'resnet_small'",
        ("train.model.backbone=resnet_smal",),
    ),
    Case(
        "weight file missing",
        "train",
        r"nowhere\.pth",
        ("train.model.backbone=resnet18", "train.model.pretrained=nowhere.pth"),
    ),
    Case("unknown fold", "train", r"train\.fold: '2003' is not in the store", ("train.fold='2003'",)),
    Case("unknown input", "train", r"train\.inputs: the store has no series; it has grid", ("train.inputs=[series]",)),
    Case("no CUDA", "train", r"train\.device: 'cuda' was asked for", ("train.device=cuda", "train.seed=9"), code=1),
    Case(
        "store of another version",
        "train",
        r"store of format 99, this program reads \d",
        ("train.seed=7",),
        spoil=edit_json("data/store/tiny/*/store.json", format=99),
    ),
    Case(
        "store array truncated",
        "train",
        r"grid\.npy: \d+ bytes, expected \d+",
        ("train.seed=7",),
        spoil=cut("data/store/tiny/*/grid.npy"),
    ),
    Case(
        "checkpoint of another channel list", "train", r"last\.ckpt: trained with channels .*t850", spoil=other_channels
    ),
    Case("checkpoint truncated", "train", r"last\.ckpt: not a readable checkpoint", spoil=cut_checkpoint),
    Case("run that does not exist", "thresholds", r"not a run folder", spoil=not_a_run),
    Case("thresholds before training", "thresholds", r"train", ("train.seed=8",)),
    Case("evaluate before training", "evaluate", r"train", ("train.seed=8",)),
    Case(
        "predictions truncated",
        "thresholds",
        r"predictions_val\.npz: .*run the train job again",
        spoil=broken_predictions,
    ),
    Case(
        "half precision without CUDA",
        "train",
        r"train\.precision: fp16 needs a CUDA device",
        ("train.precision=fp16",),
        code=1,
    ),
    Case("one day of validation", "thresholds", r"has 1 labelled samples, too few", spoil=one_validation_day),
    Case(
        "other settings for a run folder",
        "train",
        r"train\.seed=77 would be another run",
        spoil=other_settings_for_a_run,
    ),
    Case(
        "a run of another store",
        "evaluate",
        r"this run was trained on store \w+, its config now leads to store \w+",
        spoil=another_store,
    ),
    Case("unknown class to exclude", "evaluate", r"evaluate\.exclude.*'Z'", ("evaluate.exclude=[Z]",)),
]


def check(case: Case, place: Place) -> None:
    arguments = case.spoil(place) if case.spoil else None
    before = visible(place.home)
    if arguments is None:
        arguments = [str(place.config), *case.arguments]
    ended = run_job(case.job, *arguments)
    lines = [line for line in ended.text.splitlines() if re.search(case.says, line)]
    assert ended.code == case.code, ended.text
    assert lines, f"expected {case.says!r} in:\n{ended.text}"
    assert "Traceback" not in ended.text
    half_written = [path for path in visible(place.home) - before if path.name.endswith(".part")]
    assert not half_written


def visible(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def ids(case: Case) -> str:
    return case.name.replace(" ", "-")


@pytest.mark.parametrize("case", CONFIG_CASES + RAW_CASES, ids=ids)
def test_before_anything_ran(case: Case, raw_place: Place, tmp_path: Path) -> None:
    place = raw_place.copy(tmp_path)
    check(case, place)
    assert not list(place.home.glob("results/*/*"))


@pytest.mark.parametrize("case", STORE_CASES + TRAIN_CASES, ids=ids)
def test_after_a_chain(case: Case, trained_place: Place, tmp_path: Path) -> None:
    place = trained_place.copy(tmp_path)
    check(case, place)


def test_there_are_enough_cases() -> None:
    cases = CONFIG_CASES + RAW_CASES + STORE_CASES + TRAIN_CASES
    assert len({case.name for case in cases}) == len(cases) >= 50


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("job", "setting", "kilobytes"),
    [
        ("derive", "data", 64),
        ("derive", "data", 400),
        ("store", "data", 900),
        ("train", "results", 4),
        ("train", "results", 100),
        ("train", "results", 1600),
        ("train", "results", 2500),
    ],
)
def test_full_disk(trained_place: Place, tmp_path: Path, job: str, setting: str, kilobytes: int) -> None:
    """Exit code 1 and one line that says so, wherever it strikes; nothing half-written under a final name."""
    place = trained_place.copy(tmp_path / "place")
    with small_disk(tmp_path / "small", kilobytes) as small:
        if job == "store":
            shutil.copytree(place.home / "data" / "derived", small / "derived")
        ended = run_job(job, place.config, f"{setting}={small}", "store.dtype=float32", "train.seed=5")
        assert ended.code == 1, ended.text
        assert re.search("the disk is full|GB are free", ended.text)
        assert "Traceback" not in ended.text
        for path in small.rglob("*.json"):
            json.loads(path.read_text())


def test_a_class_without_positives_is_told_and_does_not_stop(raw_place: Place, tmp_path: Path) -> None:
    place = raw_place.copy(tmp_path)
    assert run_job("derive", place.config).code == 0
    ended = run_job("store", place.config, "store.target.classes=['1','2A','3B','4A','5','6C']")
    assert ended.code == 0, ended.text
    assert re.search(r"6C.*(no|without|absent|never)|(no|without|absent|never).*6C", ended.text)
    shutil.rmtree(place.home)
