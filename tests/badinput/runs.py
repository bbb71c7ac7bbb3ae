"""Wrong stores, checkpoints and results: of other settings or versions, damaged, or missing."""

# ruff: noqa: E501 (a table: one case a line where it fits the eye)
from __future__ import annotations

import re

from tests.badinput.case import Case, Place, Spoil, both, cut, edit_json, flip, gone, labels, rewrite, text

RUN = "results/tiny/simple-*"
CHART = "results/tiny/*-*"
AGAIN = ("./tiny.yaml", "train.seed=7")
"""A run that has not begun, so that the store is looked at."""


def at(kind: str, name: str, job: str, says: str, spoil: Spoil | None = None, *more: str, **rest: object) -> Case:
    return Case(kind, name, job, says, more=more, spoil=spoil, **{"ground": "trained", **rest})  # type: ignore[arg-type]


unfinish = edit_json(f"{RUN}/run.json", status="interrupted")


def other_channels(place: Place) -> None:
    """Put a checkpoint of another channel list where the run expects its own."""
    import torch

    path = place.one(f"{RUN}/checkpoints/last.ckpt")
    value = torch.load(path, weights_only=True)
    value["identity"]["channels"]["grid"] = ["t850"]
    torch.save(value, path)


def checkpoint_of(contents: object) -> Spoil:
    def spoil(place: Place) -> None:
        import torch

        torch.save(contents, place.one(f"{RUN}/checkpoints/last.ckpt"))

    return both(spoil, unfinish)


def words(*typed: str) -> Spoil:
    return lambda place: [str(place.one(RUN)) if word == "RUN" else word for word in typed]


def weights(contents: bytes) -> Spoil:
    def spoil(place: Place) -> list[str]:
        path = place.home / "weights.pth"
        path.write_bytes(contents)
        return [str(place.config), "train.model.backbone=resnet18", f"train.model.pretrained={path}"]

    return spoil


def file_for_folder(place: Place) -> list[str]:
    return [str(place.config), f"data={place.config}"]


def relabelled(place: Place) -> None:
    """Relabel a training day after the training."""
    labels(lambda contents: re.sub(r"\n1995-05-05,.*", "\n1995-05-05,1+5", contents))(place)


def one_validation_day(place: Place) -> None:
    """Leave labels on a single day of the validation year."""
    labels(lambda contents: re.sub(r"\n1996-(?!02-01).*", "", contents))(place)


STORES = [
    at("store", "channel missing", "store", r"store\.channels.*t850.*msl", None, "store.channels=[t850]"),
    at("store", "scalar missing", "store", r"store\.scalars.*moon.*f1_season", None, "store.scalars=[moon]"),
    at(
        "store",
        "unknown label token",
        "store",
        r"'5'.*199\d-\d\d-\d\d",
        None,
        "store.target.classes=['1','2A','3B','4A']",
    ),
    at("store", "empty split", "store", r"2005.*(199\d)", None, "store.split.train=[2005]"),
    at("store", "no training years", "store", r"store\.split\.train: no years given", None, "store.split.train=[]"),
    at("store", "no validation years", "store", r"val", None, "store.split.val=[]"),
    at(
        "store",
        "too few years to leave one out",
        "store",
        r"needs 3 years or more",
        None,
        "store.split.leave_one_year_out=true",
    ),
    at(
        "store",
        "region outside",
        "store",
        r"store\.region",
        None,
        "store.region={south: -40, north: -30, west: 0, east: 10}",
    ),
    at(
        "store",
        "region upside down",
        "store",
        r"store\.region.*(south|north)",
        None,
        "store.region={south: 50, north: 20, west: 120, east: 140}",
    ),
    at("store", "coarser than the map", "store", r"store\.coarsen", None, "store.coarsen=20"),
    at(
        "store",
        "other label files than were derived",
        "store",
        r"derived from raw/\*\.nc, raw/labels\.csv, the config names .*other\.csv",
        None,
        "derive.labels.files=[other.csv]",
    ),
    at("store", "store before derive", "store", r"manifest\.json: no such file; run the stage", None, "dataset=other"),
    at(
        "store",
        "derived by another version",
        "store",
        r"format 99, this program reads \d",
        edit_json("data/derived/*/manifest.json", format=99),
    ),
    at(
        "store",
        "a manifest that was changed",
        "store",
        r"manifest\.json: its list of files was changed",
        edit_json("data/derived/*/manifest.json", dataset="other"),
    ),
    at(
        "store",
        "a manifest of another kind",
        "store",
        r"manifest\.json: schema version 7",
        edit_json("data/derived/*/manifest.json", schema_version=7),
    ),
    at(
        "store",
        "a manifest that is a list",
        "store",
        r"manifest\.json: schema version 'list'",
        lambda place: place.one("data/derived/*/manifest.json").write_text("[]") and None,
    ),
    at(
        "store",
        "a manifest without pieces",
        "store",
        r"manifest is not whole|was changed",
        edit_json("data/derived/*/manifest.json", pieces=None),
    ),
    at(
        "store",
        "derived file truncated",
        "store",
        r"1995-06\.nc: \d+ bytes, expected",
        cut("data/derived/*/1995-06.nc"),
        "store.dtype=float16",
    ),
    at(
        "store",
        "derived file gone",
        "store",
        r"1995-06\.nc: missing, expected",
        gone("data/derived/*/1995-06.nc"),
        "store.dtype=float16",
    ),
    at("store", "no store yet", "train", r"no store yet; run jobs/store\.py", None, "store.dtype=float16"),
    at("store", "unknown fold", "train", r"train\.fold: '2003' is not in the store", None, "train.fold='2003'"),
    at(
        "store",
        "unknown input",
        "train",
        r"train\.inputs: the store has no series; it has grid",
        None,
        "train.inputs=[series]",
    ),
    at(
        "store",
        "store of another version",
        "train",
        r"store of format 99, this program reads \d",
        edit_json("data/store/tiny/*/store.json", format=99),
        words=AGAIN,
    ),
    at(
        "store",
        "store array truncated",
        "train",
        r"grid\.npy: \d+ bytes, expected \d+",
        cut("data/store/tiny/*/grid.npy"),
        words=AGAIN,
    ),
    at(
        "store",
        "store array changed",
        "train",
        r"grid\.npy: its checksum differs",
        flip("data/store/tiny/*/grid.npy"),
        words=AGAIN,
    ),
    at(
        "store",
        "targets changed",
        "evaluate",
        r"target\.npy: its checksum differs",
        flip("data/store/tiny/*/target.npy", 0.9),
        "evaluate.bootstrap=30",
    ),
    at("store", "splits gone", "train", r"index\.csv: missing", gone("data/store/tiny/*/index.csv"), words=AGAIN),
    at(
        "store",
        "store.json cut short",
        "train",
        r"store\.json: not a readable JSON file",
        cut("data/store/tiny/*/store.json"),
        words=AGAIN,
    ),
    at(
        "store",
        "images before the store",
        "train",
        r"no store of these images and settings yet; run jobs/store\.py",
        ground="charts",
    ),
    at(
        "store",
        "nothing to derive",
        "derive",
        r"made of images, there is nothing to derive; run store",
        ground="charts",
    ),
]

RUNS = [
    at("checkpoint", "of another channel list", "train", r"last\.ckpt: trained with channels .*t850", both(other_channels, unfinish)),
    at("checkpoint", "truncated", "train", r"last\.ckpt: not a readable checkpoint", both(cut(f"{RUN}/checkpoints/last.ckpt"), unfinish)),
    at("checkpoint", "empty", "train", r"last\.ckpt: not a readable checkpoint|last\.ckpt", both(lambda place: place.one(f"{RUN}/checkpoints/last.ckpt").write_bytes(b"") and None, unfinish)),
    at("checkpoint", "a list", "train", r"last\.ckpt: expected a checkpoint, found a list", checkpoint_of([1, 2])),
    at("checkpoint", "of another format", "train", r"last\.ckpt: checkpoint of format 99", checkpoint_of({"format": 99, "progress": {}})),
    at("checkpoint", "text", "train", r"last\.ckpt", both(lambda place: place.one(f"{RUN}/checkpoints/last.ckpt").write_bytes(b"hello") and None, unfinish)),
    at("checkpoint", "model of a run truncated", "predict", r"model\.pt: not a readable checkpoint", cut(f"{RUN}/model.pt"), words=("./results/tiny/latest", "./raw")),
    at("checkpoint", "model of a run gone", "predict", r"its training is not finished", gone(f"{RUN}/model.pt"), words=("./results/tiny/latest", "./raw")),
    at("checkpoint", "weights that are not there", "train", r"nowhere\.pth does not exist", None, "train.model.backbone=resnet18", "train.model.pretrained=nowhere.pth"),
    at("checkpoint", "weights of no known kind", "train", r"weights\.txt is not a weight file; allowed", text("weights.txt", "x"), "train.model.backbone=resnet18", "train.model.pretrained=weights.txt"),
    at("checkpoint", "weights that are text", "train", r"weights\.pth cannot be read as weights", weights(b"hello")),
    at("checkpoint", "unknown backbone", "train", r"train\.model\.backbone.*'resnet_smal'; did you mean 'resnet_small'", None, "train.model.backbone=resnet_smal"),
    at("results", "thresholds before training", "thresholds", r"predictions_val\.npz: no such file; train first", words=("./tiny.yaml", "train.seed=8")),
    at("results", "evaluate before training", "evaluate", r"train", words=("./tiny.yaml", "train.seed=8")),
    at("results", "predictions truncated", "thresholds", r"predictions_val\.npz: .*run the train job again", both(cut(f"{RUN}/predictions_val.npz"), words("RUN", "thresholds.beta=2"))),
    at("results", "predictions changed", "thresholds", r"predictions_val\.npz: .*run the train job again", both(flip(f"{RUN}/predictions_val.npz", 0.1), words("RUN", "thresholds.beta=2"))),
    at("results", "thresholds older than predictions", "evaluate", r"was made from another", both(edit_json(f"{RUN}/thresholds.json", made_from={"files": {"predictions_val.npz": "x"}}), edit_json(f"{RUN}/calibration.json", made_from={"files": {"predictions_val.npz": "x"}})), "evaluate.bootstrap=30"),
    at("results", "calibration of other thresholds", "evaluate", r"calibration\.json: does not belong to thresholds\.json", edit_json(f"{RUN}/calibration.json", made_from={}), "evaluate.bootstrap=30"),
    at("results", "thresholds without a key", "evaluate", r"thresholds\.json: lacks", rewrite(f"{RUN}/thresholds.json", lambda t: t.replace('"fallback"', '"fallbach"')), "evaluate.bootstrap=30"),
    at("results", "run.json broken", "train", r"run\.json: not a readable JSON file", cut(f"{RUN}/run.json")),
    at("results", "unknown class to exclude", "evaluate", r"evaluate\.exclude.*'Z'", None, "evaluate.exclude=[Z]"),
    at("results", "a picture of no resolution", "report", r"report\.dpi: should be greater than or equal to 50", None, "report.dpi=0"),
    at("environment", "no CUDA", "train", r"train\.device: 'cuda' was asked for", None, "train.device=cuda", "train.seed=9", code=1),
    at("environment", "half precision without CUDA", "train", r"train\.precision: fp16 needs a CUDA device", None, "train.precision=fp16", code=1),
    at("environment", "output below a file", "derive", r"cannot make this folder", file_for_folder, code=1, ground="raw"),
]  # fmt: skip
