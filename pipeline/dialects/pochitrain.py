"""pochitrain's configuration guide: module-level names of a Python file, read here as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.core.errors import InputError
from pipeline.dialects.table import UNSTATED, Dialect, Key, Setting, Written, Wrong, number, one_of, path

GUIDE = "pochitrain's configuration guide"
MISSING_TRANSFORM = "transformは必須です. 未設定 (None) の場合はエラーになります"
NO_LAYER_RATES = "層別学習率が有効ですが layer_rates が定義されていません"
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "Adam": {"name": "adam", "weight_decay": 0.0},
    "AdamW": {"name": "adamw", "weight_decay": 1e-2},
    "SGD": {"name": "sgd", "weight_decay": 1e-4, "momentum": 0.9, "nesterov": False},
}
"""The constants that pochitrain gives to torch's optimizers."""

_HERE = "dialects/test_pochitrain.py::"
_TRAINS = "dialects/test_training.py::test_the_example_trains"
_LOADER = "images are decoded once, by the store job, and batches come from its array: there is no loader to tune"
_TUNE = "read by jobs/tune.py alone"
_TUNED = "tune/test_guides.py::"


def _rate(value: Any) -> Any:
    if isinstance(number(value), int | float) and not 0 < value <= 1:
        raise ValueError(f"expected a rate above 0 and up to 1, found {value}")
    return value


def _list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


# --- rules ---------------------------------------------------------------------------------------------------


def _place(written: Written) -> Iterator[Setting]:
    yield Setting("name", written.stem)


def _network(written: Written) -> Iterator[Setting]:
    """Yield the plain classifier: the backbone and one linear layer, nothing dropped."""
    yield from (Setting(f"train.model.{name}", 0) for name in ("hidden", "head_dropout", "drop_path", "dropout"))


def _validation(written: Written) -> Iterator[Setting]:
    """Yield validation and what follows it: which weights are kept, and when training stops."""
    stopping = {name: written.get(f"early_stopping.{name}") for name in ("enabled", "patience", "min_delta", "monitor")}
    folder = written.get("val_data_root")
    if folder is None:
        if stopping["enabled"]:
            raise Wrong("early_stopping.enabled", "needs validation data: set val_data_root, or write False")
        theirs = "val_data_root" if written.has("val_data_root") else ""
        yield Setting("store.split.by", "folders", theirs)
        yield Setting("store.split.val_share", 0, theirs)
        yield Setting("train.select", "last", theirs)
        return
    yield Setting("store.images.val", path(folder), "val_data_root")
    patience = 30 if stopping["patience"] is None else stopping["patience"]
    theirs = "early_stopping.patience" if stopping["patience"] is not None else ""
    yield Setting("train.early_stopping.patience", patience if stopping["enabled"] else 0, theirs)
    for name, default in (("min_delta", 3.0), ("monitor", "val_accuracy")):
        asked = written.has(f"early_stopping.{name}")
        value = stopping[name] if asked else default
        yield Setting(f"train.early_stopping.{name}", value, f"early_stopping.{name}" if asked else "")


def _optimizer(written: Written) -> Iterator[Setting]:
    if not written.has("optimizer"):
        return
    try:
        values = one_of(OPTIMIZERS)(written.get("optimizer"))
    except ValueError as error:
        raise Wrong("optimizer", str(error)) from None
    yield Setting("train.optimizer.name", values["name"], "optimizer")
    yield from (Setting(f"train.optimizer.{name}", value) for name, value in values.items() if name != "name")


def _scheduler(written: Written) -> Iterator[Setting]:
    name, parameters = written.get("scheduler"), written.get("scheduler_params")
    if not isinstance(parameters, dict | None):
        raise Wrong("scheduler_params", f"expected a dict of parameters, found {parameters!r}")
    if name is None and parameters:
        raise Wrong("scheduler_params", "scheduler is None; name one, or write None here too")
    try:
        values = written.schedule(name, parameters or {})
    except InputError as error:
        theirs, _, reason = str(error).partition(": ")
        if theirs.startswith("scheduler_params"):
            raise Wrong(theirs, reason) from None
        raise
    theirs = "scheduler" if written.has("scheduler") else ""
    yield from (Setting(f"train.schedule.{key}", value, theirs) for key, value in values.items())


def _rates(written: Written) -> Iterator[Setting]:
    if not written.get("enable_layer_wise_lr"):
        return
    rates = written.get("layer_wise_lr_config.layer_rates")
    if not rates:
        raise InputError(NO_LAYER_RATES)
    yield Setting("train.rates.by", "layers", "enable_layer_wise_lr")
    yield Setting("train.rates.layer_rates", rates, "layer_wise_lr_config.layer_rates")


def _weights(written: Written) -> Iterator[Setting]:
    weights, classes = written.get("class_weights"), written.get("num_classes")
    if weights is None:
        return
    if isinstance(weights, list | tuple) and isinstance(classes, int) and len(weights) != classes:
        raise InputError(f"クラス重みの長さ({len(weights)})がクラス数({classes})と一致しません")
    yield Setting("train.loss.class_weights", _list(weights), "class_weights")


def _colours(written: Written) -> Iterator[Setting]:
    mean, std = written.get("mean"), written.get("std")
    if mean is None and std is None:
        return
    for name, value in (("mean", mean), ("std", std)):
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise Wrong(name, f"expected three numbers, red, green and blue, found {value!r}")
    yield Setting("train.model.normalize", [_list(mean), _list(std)], "mean")


def _transforms(written: Written) -> Iterator[Setting]:
    for theirs, ours in (("train_transform", "train.augment.transforms"), ("val_transform", "train.model.transforms")):
        if written.get(theirs) is None:
            raise InputError(MISSING_TRANSFORM)
        yield Setting(ours, written.get(theirs), theirs)
    found = [size for name in ("val_transform", "train_transform") for size in resized(written.get(name))]
    if found:
        yield Setting("store.images.size", found[0])
        yield Setting("store.images.fit", "resize" if isinstance(found[0], list) else "crop")


def resized(transform: Any) -> Iterator[int | list[int]]:
    """Yield the sizes of the ``Resize`` steps of transforms: of the shorter side, or height and width.

    Files of different sizes are stored at that size, so that the step itself has nothing more to do.
    """
    if isinstance(transform, dict):
        for name, arguments in transform.items():
            size = arguments.get("size") if isinstance(arguments, dict) else arguments
            yield from _as_size(size) if name == "Resize" else ()
    elif isinstance(transform, list | tuple):
        yield from (size for step in transform for size in resized(step))
    elif hasattr(transform, "transforms"):
        yield from resized(list(transform.transforms))
    elif type(transform).__name__ == "Resize":
        yield from _as_size(getattr(transform, "size", None))


def _as_size(size: Any) -> Iterator[int | list[int]]:
    if isinstance(size, int):
        yield size
    elif isinstance(size, list | tuple):
        yield size[0] if len(size) == 1 else list(size)


def _optuna(written: Written) -> Iterator[Setting]:
    for theirs, allowed in (
        ("optuna.direction", ("maximize", "minimize")),
        ("optuna.sampler", ("TPESampler", "RandomSampler", "CmaEsSampler", "GridSampler")),
        ("optuna.pruner", (None, *(f"{name}Pruner" for name in _PRUNERS))),
    ):
        value = written.get(theirs, allowed[0])
        if value not in allowed:
            raise Wrong(theirs, f"unknown name {value!r}. Allowed: {', '.join(map(str, allowed))}")
    yield from ()


_PRUNERS = ("Median", "Percentile", "SuccessiveHalving", "Hyperband", "Nop")

# --- keys ----------------------------------------------------------------------------------------------------

BASIC = (
    Key("model_name", "train.model.backbone", "network: resnet18, resnet34, resnet50, or any timm name",
        _TRAINS),
    Key("num_classes", "store.target.num_classes", "classes that the folders must have", _HERE + "test_basic_keys",
        convert=number),
    Key("pretrained", "train.model.pretrained", "start with weights of the hub", _HERE + "test_basic_keys"),
    Key("train_data_root", "store.images.train", "folder of class folders", _TRAINS,
        convert=path),
    Key("val_data_root", "store.images.val, store.split.val_share, train.select",
        "the same for validation; None: all images train, and the last epoch's weights are kept",
        _HERE + "test_without_validation_the_last_epoch_is_kept", rule=True),
    Key("batch_size", "train.batch_size", "images a step", _HERE + "test_basic_keys", convert=number),
    Key("num_workers", "", _LOADER, _HERE + "test_keys_without_effect_are_accepted"),
    Key("pin_memory", "", _LOADER, _HERE + "test_keys_without_effect_are_accepted"),
    Key("epochs", "train.epochs", "passes over the training images", _HERE + "test_basic_keys", convert=number),
    Key("learning_rate", "train.optimizer.lr", "first rate, above 0 and up to 1", _HERE + "test_basic_keys",
        convert=_rate),
    Key("optimizer", "train.optimizer.name, train.optimizer.weight_decay, train.optimizer.momentum",
        "Adam without decay; AdamW with 1e-2; SGD with momentum 0.9 and decay 1e-4",
        _HERE + "test_optimizers_have_the_guides_constants", rule=True),
    Key("enable_metrics_export", "train.export_metrics", "metrics as CSV and pictures, written every epoch",
        _HERE + "test_switches", default=True),
    Key("work_dir", "results", "folder of the runs: `<work_dir>/<config's name>/<run>/`", _HERE + "test_switches",
        default="work_dirs", convert=path),
    Key("device", "train.device", "None: automatic", _HERE + "test_switches", default=None,
        convert=lambda value: "auto" if value is None else value),
    Key("cudnn_benchmark", "train.cudnn_benchmark", "let cuDNN try its algorithms", _HERE + "test_switches",
        default=False),
    Key("scheduler", "train.schedule.name", "StepLR, MultiStepLR, CosineAnnealingLR, ExponentialLR, LinearLR or None",
        _HERE + "test_schedulers", default=None, rule=True),
    Key("scheduler_params",
        "train.schedule.step_size, train.schedule.gamma, train.schedule.milestones, train.schedule.length, "
        "train.schedule.start, train.schedule.final, train.schedule.eta_min",
        "step_size, gamma, milestones, T_max, start_factor, end_factor, total_iters, eta_min; epochs",
        _HERE + "test_schedulers", default=None, rule=True, free=True),
)  # fmt: skip

TOOLBOX = (
    Key("enable_layer_wise_lr", "train.rates.by", "a rate for each layer: by: layers", _HERE + "test_layer_rates",
        rule=True),
    Key("layer_wise_lr_config.layer_rates", "train.rates.layer_rates",
        "ordered {regular expression: rate}; the first that matches decides", _HERE + "test_layer_rates", rule=True,
        free=True),
    Key("layer_wise_lr_config.graph_config.use_log_scale", "train.rates.log_scale",
        "logarithmic axis in the picture of the rates", _HERE + "test_layer_rates"),
    Key("early_stopping.enabled", "train.early_stopping.patience", "False: patience 0", _HERE + "test_early_stopping",
        default=False, rule=True),
    Key("early_stopping.patience", "train.early_stopping.patience", "epochs without a gain before stopping",
        _HERE + "test_early_stopping", default=30, rule=True),
    Key("early_stopping.min_delta", "train.early_stopping.min_delta",
        "smallest gain that counts; of accuracy in percent points", _HERE + "test_early_stopping", default=3.0,
        rule=True),
    Key("early_stopping.monitor", "train.early_stopping.monitor",
        "val_accuracy or val_loss (or val_f1, val_map); it chooses the weights as well", _HERE + "test_early_stopping",
        default="val_accuracy", rule=True),
    Key("enable_gradient_tracking", "train.gradients.enabled", "norms of the gradients, a row an epoch",
        _HERE + "test_gradient_tracking", default=False),
    Key("gradient_tracking_config.record_frequency", "train.gradients.record_frequency", "epochs from row to row",
        _HERE + "test_gradient_tracking", default=1, convert=number),
    Key("gradient_tracking_config.exclude_patterns", "train.gradients.exclude_patterns",
        "regular expressions of names that are left out", _HERE + "test_gradient_tracking",
        default=["fc\\.", "\\.bias"], convert=_list),
    Key("gradient_tracking_config.group_by_block", "train.gradients.group_by_block", "a column a block",
        _HERE + "test_gradient_tracking", default=True),
    Key("gradient_tracking_config.aggregation_method", "train.gradients.aggregation_method",
        "median, mean, max or rms", _HERE + "test_gradient_tracking", default="median"),
    Key("class_weights", "train.loss.class_weights", "None: automatic, by inverse frequency; a list: by class",
        _HERE + "test_class_weights", default=None, rule=True),
    Key("train_transform", "train.augment.transforms", "transforms of training; required",
        _HERE + "test_transforms_of_the_guide", rule=True),
    Key("val_transform", "train.model.transforms, store.images.size, store.images.fit",
        "transforms of validation; required; a Resize is the stored size as well",
        _HERE + "test_transforms_of_the_guide", rule=True),
    Key("mean", "train.model.normalize", "of red, green, blue; Normalize in the transforms comes first",
        _HERE + "test_colours", rule=True),
    Key("std", "train.model.normalize", "with mean", _HERE + "test_colours", rule=True),
)  # fmt: skip

PICTURES = tuple(
    Key(f"confusion_matrix_config.{name}", f"report.confusion_matrix.{name}", meaning,
        _HERE + "test_confusion_matrix", default=default)
    for name, default, meaning in (
        ("title", "Confusion Matrix", "of the picture, in any language"),
        ("xlabel", "Predicted Label", "below"),
        ("ylabel", "True Label", "at the side"),
        ("fontsize", 14, "of the numbers in the cells; smaller where they would not fit"),
        ("title_fontsize", 16, "of the title"),
        ("label_fontsize", 12, "of the labels of the axes"),
        ("figsize", (8, 6), "width and height in inches"),
        ("cmap", "Blues", "a colour map of matplotlib"),
    )
)  # fmt: skip

SEARCH = tuple(
    Key(f"optuna.{name}", "", f"{meaning}; {_TUNE}", _TUNED + test, default=default, free=name == "search_space")
    for name, default, meaning, test in (
        ("study_name", "pochitrain_optimization", "name of the search, of which its folder has the beginning",
         "test_the_optuna_section_with_values"),
        ("direction", "maximize", "maximize accuracy or minimize loss", "test_directions_are_of_accuracy_and_loss"),
        ("n_trials", 20, "trials in all, over restarts", "test_the_optuna_section_with_values"),
        ("n_jobs", 1, "trials at a time, each in a process; -1: one a core", "test_the_optuna_section_with_values"),
        ("optuna_epochs", 10, "epochs of a trial", "test_the_optuna_section_with_values"),
        ("sampler", "TPESampler", "TPESampler, RandomSampler, CmaEsSampler, GridSampler",
         "test_samplers_by_the_guides_names"),
        ("pruner", "MedianPruner",
         "MedianPruner, PercentilePruner, SuccessiveHalvingPruner, HyperbandPruner, NopPruner, None (none at all)",
         "test_pruners_by_the_guides_names"),
        ("storage", None, "None (memory; a journal where n_jobs is not 1), or sqlite:///file",
         "test_storages_of_the_guide_go_on"),
        ("search_space", UNSTATED, "{name: {type, low, high, log or choices}}", "test_kinds_of_parameters"),
    )
)  # fmt: skip

LATER = (
    Key("train_pin_memory", "", _LOADER, _HERE + "test_keys_without_effect_are_accepted"),
    Key("infer_pin_memory", "", _LOADER, _HERE + "test_keys_without_effect_are_accepted"),
    Key("gpu_non_blocking", "", _LOADER, _HERE + "test_keys_without_effect_are_accepted"),
    Key("enable_tensorboard", "train.tensorboard.scalars", "curves for TensorBoard, in the run folder",
        _HERE + "test_switches"),
    Key("benchmark_env_name", "", "a label of its benchmarks", _HERE + "test_keys_without_effect_are_accepted"),
)  # fmt: skip
"""Keys of pochitrain's later versions, that its guide does not tell."""

POCHITRAIN = Dialect(
    guide=GUIDE,
    markers=("model_name", "train_data_root", "train_transform"),
    keys=(*BASIC, *TOOLBOX, *PICTURES, *SEARCH, *LATER),
    rules=(_place, _network, _validation, _optimizer, _scheduler, _rates, _weights, _colours, _transforms, _optuna),
)
