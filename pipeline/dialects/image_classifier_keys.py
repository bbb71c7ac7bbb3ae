"""The keys of the time-series image classifier's guide."""

from __future__ import annotations

from typing import Any

from pipeline.dialects.table import Key, path

_HERE = "dialects/test_image_classifier.py::"
_INERT = _HERE + "test_keys_without_effect_are_accepted"
_LOADER = "images are decoded once, by the store job, and batches come from its array: there is no loader to tune"


def _resume(value: Any) -> Any:
    return "last.ckpt" if value in (None, False) else value


def _columns(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


MODE = (
    Key("model_mode", "train.inputs", "single: [image]; multi: [image, series]", _HERE + "test_modes", "single",
        rule=True),
    Key("model_architecture_name", "name, train.model.backbone",
        "names the runs, `<mode>_<name>`; the network too where model.type is not written", _HERE + "test_networks",
        rule=True),
    Key("base_dir", "", "relative paths of data start there: it is put before them", _HERE + "test_folders", ".",
        rule=True),
    Key("data_dir", "store.images.datasets", "parent of data sets without a `<name>_dir` of their own",
        _HERE + "test_folders", "./data", rule=True),
    Key("datasets", "store.images.datasets", "data sets that are merged", _HERE + "test_folders", rule=True),
    Key("<name>_dir", "store.images.datasets", "folder of a data set (dataset_a_dir …), with train, val and test in it",
        _HERE + "test_folders", "<data_dir>/<name>_15m_winsize40", rule=True),
    Key("logs_dir", "", "curves are in the run folder: metrics.csv, pictures, tensorboard/", _INERT),
    Key("checkpoint_dir", "results", "folder of the runs: `<checkpoint_dir>/<mode>_<name>/<run>/checkpoints/`",
        _HERE + "test_switches", convert=path),
    Key("image_size", "store.images.size", "height and width; images are stretched to it", _HERE + "test_folders", 224),
    Key("num_classes", "store.target.num_classes", "classes that the folders must have", _HERE + "test_classes"),
    Key("class_names", "store.target.classes", "names in the order of the label numbers", _HERE + "test_classes"),
    Key("dataset_mean", "train.model.normalize", "of red, green, blue", _HERE + "test_colours", rule=True),
    Key("dataset_std", "train.model.normalize", "with dataset_mean", _HERE + "test_colours", rule=True),
    Key("check_data", "store.check", "show shapes, counts, ranges, alignment and a contact sheet, and stop",
        _HERE + "test_switches", False),
    Key("num_folds", "store.split.by, store.split.num_folds",
        "2 or more, written: folds by blocks of time; else the given folders", _HERE + "test_folds", rule=True),
    Key("fold", "train.fold", "which fold", _HERE + "test_folds", rule=True),
    Key("timeseries.data_path", "store.series.files", "CSV file of the series, or a list", _HERE + "test_modes",
        rule=True),
    Key("timeseries.feature_columns", "store.series.feature_columns", "columns in this order", _HERE + "test_modes",
        rule=True),
    Key("multi_modal_features", "store.series.feature_columns", "the same under its other name",
        _HERE + "test_features_under_their_other_name", rule=True),
    Key("timeseries.feature_dim", "", "is counted; checked against feature_columns",
        _HERE + "test_features_under_their_other_name", rule=True),
    Key("timeseries.window_size", "store.series.window_size", "rows of a window", _HERE + "test_modes", 40, rule=True),
)  # fmt: skip

MODEL = (
    Key("model.type", "train.model.backbone", "network; nfnet and efficientnet stand for NFNet-F0 and EfficientNet-B4",
        _HERE + "test_networks", rule=True),
    Key("model.drop_path_rate", "train.model.drop_path", "stochastic depth", _HERE + "test_networks", 0.2),
    Key("model.classifier_dropout1", "train.model.head_dropout", "after the head's first layer, of 256",
        _HERE + "test_networks", 0.3, rule=True),
    Key("model.classifier_dropout2", "train.model.head_dropout", "after its second, of 128", _HERE + "test_networks",
        0.2, rule=True),
    Key("classifier.dropout1", "train.model.head_dropout", "the same in multi mode", _HERE + "test_networks", 0.3,
        rule=True),
    Key("classifier.dropout2", "train.model.head_dropout", "the same in multi mode", _HERE + "test_networks", 0.2,
        rule=True),
    Key("transformer.dim", "train.model.series.dim", "width of a step", _HERE + "test_transformer", 128),
    Key("transformer.layers", "train.model.series.layers", "layers", _HERE + "test_transformer", 2),
    Key("transformer.heads", "train.model.series.heads", "heads of attention", _HERE + "test_transformer", 4),
    Key("transformer.dropout", "train.model.series.dropout", "inside the layers", _HERE + "test_transformer", 0.1),
    Key("transformer.ff_dim", "train.model.series.feedforward", "width inside each layer; 4 times dim",
        _HERE + "test_transformer", "4·dim", rule=True),
    Key("reasoning_dim", "train.model.reasoning_dim", "width of the reasoning head, of which the guide tells no size",
        _HERE + "test_networks"),
    Key("aux_loss_weight", "train.model.aux_loss_weight", "weight of its own loss", _HERE + "test_networks"),
    Key("use_gradient_checkpointing", "", "memory is saved by train.accumulate", _INERT),
)  # fmt: skip

TRAINING = (
    Key("max_epochs", "train.epochs", "passes over the training images", _HERE + "test_switches", 100),
    Key("batch_size", "train.batch_size", "images a batch; times accumulate_grad_batches is a step",
        _HERE + "test_batches", 32, rule=True),
    Key("accumulate_grad_batches", "train.accumulate", "batches a step", _HERE + "test_batches", 1, rule=True),
    Key("precision", "train.precision", "16-mixed, bf16-mixed, 32", _HERE + "test_switches", "32-true"),
    Key("early_stopping_patience", "train.early_stopping.patience",
        "epochs without a gain of macro F1 before stopping", _HERE + "test_stopping", 10),
    Key("use_progressive_unfreezing", "train.unfreeze.enabled", "the backbone starts frozen", _HERE + "test_unfreezing",
        False),
    Key("auto_unfreeze.stage1_epoch", "train.unfreeze.epochs", "epoch from which the deepest stage is trained",
        _HERE + "test_unfreezing", 10, rule=True),
    Key("auto_unfreeze.stage2_epoch", "train.unfreeze.epochs", "… the next shallower one", _HERE + "test_unfreezing",
        20, rule=True),
    Key("auto_unfreeze.stage3_epoch", "train.unfreeze.epochs", "… the one before that", _HERE + "test_unfreezing", 30,
        rule=True),
    Key("lr_head", "train.rates.head", "rate of all that is not backbone", _HERE + "test_rates", 3e-4),
    Key("lr_backbone", "train.rates.backbone", "rate of the deepest stage", _HERE + "test_rates", 3e-5),
    Key("lr_decay_rate", "train.rates.decay",
        "share of the rate from a stage to the shallower one (the tuning guide's sense, the cosine's end, is eta_min)",
        _HERE + "test_rates", 0.1),
    Key("scheduler", "train.schedule.name", "cosine, step, or any of ours", _HERE + "test_schedulers", "cosine",
        rule=True),
    Key("eta_min", "train.schedule.eta_min", "last rate of the cosine; a group whose own rate is smaller keeps that",
        _HERE + "test_schedulers", 1e-6, rule=True),
    Key("scheduler_step_size", "train.schedule.step_size", "epochs a step", _HERE + "test_schedulers", 30, rule=True),
    Key("scheduler_gamma", "train.schedule.gamma", "factor a step", _HERE + "test_schedulers", 0.1, rule=True),
    Key("use_agc", "train.agc.enabled", "adaptive gradient clipping", _HERE + "test_clipping", False,
        convert=lambda value: False if value is None else value),
    Key("agc_clip_factor", "train.agc.clip_factor", "largest ratio of gradient to weight", _HERE + "test_clipping",
        0.01),
    Key("agc_eps", "train.agc.eps", "weights count as at least this large", _HERE + "test_clipping", 1e-3),
    Key("weight_decay", "train.optimizer.weight_decay", "of AdamW", _HERE + "test_rates", 0.01),
    Key("seed", "train.seed", "of weights, order and dropout", _HERE + "test_switches", 42),
    Key("resume_from_checkpoint", "train.resume", "checkpoint of this run, or path of another run's; false: last.ckpt",
        _HERE + "test_switches", False, convert=_resume),
    Key("force_cpu", "train.device", "true: cpu, false: automatic", _HERE + "test_switches", False,
        convert=lambda value: "cpu" if value is True else "auto"),
    Key("force_gpu", "", "a GPU is taken where there is one; train.device: cuda insists", _INERT),
    Key("gpu_debug", "", "nothing reads it there either; --verbose logs details", _INERT),
    Key("debug", "", "nothing reads it there either; --verbose logs details", _INERT),
    Key("log_every_n_steps", "", "metrics are means over an epoch, written after each", _INERT),
    Key("num_workers", "", _LOADER, _INERT),
    Key("persistent_workers", "", _LOADER, _INERT),
    Key("pin_memory", "", _LOADER, _INERT),
    Key("prefetch_factor", "", _LOADER, _INERT),
)  # fmt: skip

KEYS = (*MODE, *MODEL, *TRAINING)
