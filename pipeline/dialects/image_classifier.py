"""The time-series image classifier's guide: a YAML file for images, or images with windows of series."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pipeline.core.choose import near
from pipeline.dialects.image_classifier_keys import KEYS
from pipeline.dialects.table import Dialect, Setting, Written, Wrong, number, path

GUIDE = "the time-series image classifier's guide"
MODES = {"single": ["image"], "multi": ["image", "series"]}
WINDOW = 40
_STAGES = (10, 20, 30)


def _inputs(written: Written) -> Iterator[Setting]:
    mode = written.get("model_mode", "single")
    if not isinstance(mode, str) or mode not in MODES:
        raise Wrong("model_mode", f"unknown name {mode!r}{near(str(mode), MODES)} Allowed: {', '.join(MODES)}")
    yield Setting("train.inputs", MODES[mode])  # train: {inputs: [series]} may stand beside multi
    yield Setting("name", f"{mode}_{str(written.get('model_architecture_name', written.stem)).replace('/', '_')}")


def _network(written: Written) -> Iterator[Setting]:
    """Yield the network: of ``model.type``, else the one that names the run, without its ``_transformer``."""
    named = "model.type" if written.has("model.type") else "model_architecture_name"
    if written.has(named):
        yield Setting("train.model.backbone", _without(written.get(named), "_transformer"), named)
    yield Setting("train.model.pretrained", True)
    yield Setting("train.model.fallback", "resnet18")
    yield Setting("train.model.hidden", [256, 128])
    yield Setting("train.model.activation", "silu")
    yield Setting("train.model.dropout", 0)


def _without(value: Any, ending: str) -> Any:
    return value.removesuffix(ending) if isinstance(value, str) else value


def _dropouts(written: Written) -> Iterator[Setting]:
    values, asked = [], ""
    for layer, default in ((1, 0.3), (2, 0.2)):
        keys = [key for key in (f"model.classifier_dropout{layer}", f"classifier.dropout{layer}") if written.has(key)]
        if len(keys) == 2 and written.get(keys[0]) != written.get(keys[1]):
            raise Wrong(keys[1], f"is set by {keys[0]} as well; keep one")
        values.append(written.get(keys[0]) if keys else default)
        asked = asked or (keys[0] if keys else "")
    yield Setting("train.model.head_dropout", values, asked)


def _folders(written: Written) -> Iterator[Setting]:
    """Yield the folder of each data set: ``<name>_dir``, else ``<data_dir>/<name>_15m_winsize<N>``."""
    names = written.get("datasets", ["dataset_a"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not names:
        raise Wrong("datasets", f"expected a list of names, found {names!r}")
    below = written.get("data_dir", "./data")
    window = written.get("timeseries.window_size", WINDOW)
    folders = [written.get(f"{name}_dir", f"{below}/{name}_15m_winsize{window}") for name in names]
    for name, folder in zip(names, folders, strict=True):
        if not isinstance(folder, str) or not folder:
            raise Wrong(f"{name}_dir", f"expected a path, found {folder!r}")
    theirs = "datasets" if written.has("datasets") else ""
    yield Setting("store.images.datasets", [_based(written, folder) for folder in folders], theirs)


def _based(written: Written, folder: str) -> str:
    """Return a path below ``base_dir``."""
    base = written.get("base_dir") or "."
    return str(PurePosixPath(path(base), folder)) if isinstance(base, str) else folder


def _series(written: Written) -> Iterator[Setting]:
    """Yield the series, which only multi mode reads."""
    if written.get("model_mode") != "multi":
        return
    files = written.get("timeseries.data_path")
    if files is None:
        raise Wrong("timeseries.data_path", "model_mode multi needs the CSV file of the series (a path or a list)")
    yield Setting("store.series.files", _paths(written, files), "timeseries.data_path")
    yield Setting("store.series.window_size", WINDOW)
    yield Setting("store.series.shared", True)  # one file may serve several data sets
    if written.has("timeseries.window_size"):
        yield Setting("store.series.window_size", written.get("timeseries.window_size"), "timeseries.window_size")
    columns = {key: written.get(key) for key in ("timeseries.feature_columns", "multi_modal_features")}
    for key, value in columns.items():
        if value is not None:
            yield Setting("store.series.feature_columns", value, key)
    _check_dimension(written, next((value for value in columns.values() if value is not None), None))


def _paths(written: Written, files: Any) -> Any:
    found = files if isinstance(files, list) else [files]
    return [_based(written, file) if isinstance(file, str) else file for file in found]


def _check_dimension(written: Written, columns: Any) -> None:
    dimension = written.get("timeseries.feature_dim")
    if isinstance(columns, list) and dimension is not None and dimension != len(columns):
        raise Wrong("timeseries.feature_dim", f"is {dimension}, feature_columns lists {len(columns)}; drop feature_dim")


def _transformer(written: Written) -> Iterator[Setting]:
    dim = written.get("transformer.dim")
    if written.has("transformer.ff_dim"):
        yield Setting("train.model.series.feedforward", written.get("transformer.ff_dim"), "transformer.ff_dim")
    elif isinstance(dim, int):
        yield Setting("train.model.series.feedforward", 4 * dim)


def _batches(written: Written) -> Iterator[Setting]:
    """Yield the samples of an optimizer step: a batch times the batches that are accumulated."""
    batch, several = written.get("batch_size", 32), written.get("accumulate_grad_batches", 1)
    for key, value in (("batch_size", batch), ("accumulate_grad_batches", several)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Wrong(key, f"expected a whole number from 1, found {value!r}")
    asked = [key for key in ("batch_size", "accumulate_grad_batches") if written.has(key)]
    yield Setting("train.batch_size", batch * several, asked[0] if asked else "")
    yield Setting("train.accumulate", several, asked[-1] if "accumulate_grad_batches" in asked else "")


def _rates(written: Written) -> Iterator[Setting]:
    yield Setting("train.rates.by", "stages")
    yield Setting("train.optimizer.lr", written.get("lr_head", 3e-4))  # what metrics call the learning rate
    stages = [(f"auto_unfreeze.stage{n}_epoch", default) for n, default in enumerate(_STAGES, 1)]
    asked = [key for key, _ in stages if written.has(key)]
    yield Setting("train.unfreeze.epochs", [written.get(*stage) for stage in stages], asked[0] if asked else "")


def _schedule(written: Written) -> Iterator[Setting]:
    name, asked = written.get("scheduler", "cosine"), "scheduler" if written.has("scheduler") else ""
    yield Setting("train.schedule.name", "none" if name is None else name, asked)
    if name == "cosine":
        yield Setting("train.schedule.each", "epoch")
        asked = "eta_min" if written.has("eta_min") else ""
        yield Setting("train.schedule.eta_min", written.get("eta_min", 1e-6), asked)
    for theirs, ours, default in (("scheduler_step_size", "step_size", 30), ("scheduler_gamma", "gamma", 0.1)):
        asked = theirs if written.has(theirs) else ""
        if asked or name == "step":
            yield Setting(f"train.schedule.{ours}", written.get(theirs, default), asked)


def _stopping(written: Written) -> Iterator[Setting]:
    """Yield that macro F1 of validation chooses the weights and stops the training."""
    yield Setting("train.early_stopping.monitor", "val_f1")


def _folds(written: Written) -> Iterator[Setting]:
    """Yield the division: the given folders, or k folds where ``num_folds`` asks for them."""
    if not written.has("num_folds") and not written.has("fold"):
        return
    folds, fold = number(written.get("num_folds", 5)), written.get("fold", 0)
    if folds in (0, 1, None, False):
        return
    if not isinstance(fold, int) or not isinstance(folds, int) or not 0 <= fold < folds:
        raise Wrong("fold", f"expected a number from 0 to num_folds - 1, found {fold!r} of {folds!r}")
    yield Setting("store.split.by", "kfold", "num_folds" if written.has("num_folds") else "fold")
    yield Setting("store.split.num_folds", folds, "num_folds" if written.has("num_folds") else "")
    yield Setting("train.fold", f"fold{fold}", "fold" if written.has("fold") else "")


def _colours(written: Written) -> Iterator[Setting]:
    mean, std = written.get("dataset_mean"), written.get("dataset_std")
    if mean is None and std is None:
        return
    for name, value in (("dataset_mean", mean), ("dataset_std", std)):
        if not isinstance(value, list) or len(value) != 3:
            raise Wrong(name, f"expected three numbers, red, green and blue, found {value!r}")
    yield Setting("train.model.normalize", [mean, std], "dataset_mean")


def _reasoning(written: Written) -> Iterator[Setting]:
    """Yield the reasoning head of the guide's model, and its loss, which weighs all classes alike."""
    yield Setting("train.model.reasoning_dim", 64)
    yield Setting("train.loss.class_weights", "uniform")


def _is_folder_of_a_dataset(name: str, written: Written) -> bool:
    """Tell whether a key is ``<name>_dir`` of a data set, used or not."""
    if not name.endswith("_dir"):
        return False
    dataset, value = name.removesuffix("_dir"), written.get(name)
    named = written.get("datasets")
    return (isinstance(named, list) and dataset in named) or (
        isinstance(value, str) and PurePosixPath(value).name.startswith(dataset)
    )


IMAGE_CLASSIFIER = Dialect(
    guide=GUIDE,
    markers=("model_mode", "model_architecture_name", "datasets"),
    keys=KEYS,
    rules=(
        _inputs, _network, _dropouts, _folders, _series, _transformer, _batches, _rates, _schedule, _stopping, _folds,
        _colours, _reasoning,
    ),
    pattern=_is_folder_of_a_dataset,
)  # fmt: skip
