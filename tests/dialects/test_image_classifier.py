"""Every key of the image classifier's guide is the setting that docs/settings.md says."""

from __future__ import annotations

import pytest

from pipeline.dialects import DIALECTS
from pipeline.store.sections.images import ImagesConfig
from pipeline.store.sections.series import SeriesConfig
from tests.dialects.configs import Form

MULTI = """\
timeseries:
  data_path: ./data/fix_labeled_data_dataset_a_15m.csv
  feature_columns: [feature_1, feature_2]
  window_size: 30
"""


def images(form: Form, more: str = "", *overrides: str, without: str = "") -> ImagesConfig:
    config = form.load(more, *overrides, without=without).store.images
    assert config is not None
    return config


def series(form: Form, more: str) -> SeriesConfig:
    config = form.load(more, "model_mode=multi").store.series
    assert config is not None
    return config


def test_modes(charts: Form) -> None:
    single = charts.load(MULTI)
    assert (single.name, single.train.inputs, single.store.series) == ("single_nfnet", ["image"], None)
    multi = charts.load(MULTI, "model_mode=multi")
    assert (multi.name, multi.train.inputs) == ("multi_nfnet", ["image", "series"])
    assert multi.store.series is not None
    assert multi.store.series.files == ["data/fix_labeled_data_dataset_a_15m.csv"]
    assert (multi.store.series.feature_columns, multi.store.series.window_size) == (["feature_1", "feature_2"], 30)
    assert multi.store.series.shared
    message = charts.error("model_mode: both", without="model_mode")
    assert message == "mine.yaml:3: model_mode: unknown name 'both'. Allowed: single, multi"
    assert "timeseries.data_path: model_mode multi needs the CSV file" in charts.error("", "model_mode=multi")
    only = charts.load(MULTI + "train: {inputs: [series]}", "model_mode=multi")
    assert only.train.inputs == ["series"]


def test_features_under_their_other_name(charts: Form) -> None:
    without = MULTI.replace("  feature_columns: [feature_1, feature_2]\n", "  feature_dim: 2\n")
    assert series(charts, without + "multi_modal_features: [a, b]").feature_columns == ["a", "b"]
    clash = charts.error(MULTI + "multi_modal_features: [a, b]", "model_mode=multi")
    assert clash == (
        "mine.yaml:8: multi_modal_features: is set by timeseries.feature_columns as well (mine.yaml:6); keep one"
    )
    wrong = charts.error(without + "multi_modal_features: [a]", "model_mode=multi")
    assert wrong == "mine.yaml:6: timeseries.feature_dim: is 2, feature_columns lists 1; drop feature_dim"


def test_folders(charts: Form) -> None:
    assert images(charts).datasets == ["./data/dataset_a_15m_winsize40".removeprefix("./")]
    assert (images(charts).size, images(charts).fit) == (224, "resize")
    assert images(charts, "image_size: 380").size == 380
    assert images(charts, "data_dir: /d\ntimeseries: {window_size: 8}").datasets == ["/d/dataset_a_15m_winsize8"]
    more = "datasets: [a, b]\na_dir: ./x/a_1h\nb_dir: /y/b_1h\nc_dir: ./x/c_1h\nbase_dir: /base"
    assert images(charts, more, without="datasets").datasets == ["/base/x/a_1h", "/y/b_1h"]
    assert "mine.yaml:4: dataset_a_dri: unknown key; did you mean" in charts.error("dataset_a_dri: ./data")
    assert "mine.yaml:3: datasets: expected a list of names, found 'a'" in charts.error(
        "datasets: a", without="datasets"
    )
    assert "mine.yaml:4: dataset_a_dir: expected a path, found 3" in charts.error("dataset_a_dir: 3")


def test_classes(charts: Form) -> None:
    target = charts.load("num_classes: 2\nclass_names: [Class_A, Class_B]").store.target
    assert (target.num_classes, target.classes) == (2, ["Class_A", "Class_B"])


def test_networks(charts: Form) -> None:
    plain = charts.load().train.model
    assert (plain.backbone, plain.pretrained, plain.fallback, plain.drop_path) == ("nfnet", True, "resnet18", 0.2)
    assert (plain.hidden, plain.activation, plain.head_dropout) == ([256, 128], "silu", [0.3, 0.2])
    assert (plain.reasoning_dim, plain.aux_loss_weight) == (64, 0)
    more = "aux_loss_weight: 0.25\nreasoning_dim: 3\nclassifier: {dropout2: 0.4}\nmodel:\n  "
    changed = charts.load(more + "{type: efficientnet_b4, drop_path_rate: 0.3, classifier_dropout1: 0.1}").train.model
    assert (changed.backbone, changed.drop_path, changed.head_dropout) == ("efficientnet_b4", 0.3, [0.1, 0.4])
    assert (changed.reasoning_dim, changed.aux_loss_weight) == (3, 0.25)
    named = charts.load("", "model_architecture_name=nfnet_transformer")
    assert (named.train.model.backbone, named.name) == ("nfnet", "single_nfnet_transformer")
    assert charts.load("train: {model: {pretrained: false}}").train.model.pretrained is False


def test_transformer(charts: Form) -> None:
    plain = charts.load().train.model.series
    assert (plain.dim, plain.layers, plain.heads, plain.dropout, plain.feedforward) == (128, 2, 4, 0.1, 512)
    changed = charts.load("transformer: {dim: 64, layers: 3, heads: 8, dropout: 0.2}").train.model.series
    assert (changed.dim, changed.layers, changed.heads, changed.dropout) == (64, 3, 8, 0.2)
    assert changed.feedforward == 256
    assert charts.load("transformer: {ff_dim: 100}").train.model.series.feedforward == 100
    assert "mine.yaml:4: transformer.dimm: unknown key; did you mean 'dim'?" in charts.error("transformer: {dimm: 3}")


def test_batches(charts: Form) -> None:
    train = charts.load("batch_size: 40\naccumulate_grad_batches: 2").train
    assert (train.batch_size, train.accumulate) == (80, 2)
    assert charts.load().train.batch_size == 32
    assert "mine.yaml:4: batch_size: expected a whole number from 1, found 0" in charts.error("batch_size: 0")


def test_rates(charts: Form) -> None:
    plain = charts.load().train
    assert (plain.rates.by, plain.rates.head, plain.rates.backbone, plain.rates.decay) == ("stages", 3e-4, 3e-5, 0.1)
    assert (plain.optimizer.name, plain.optimizer.weight_decay) == ("adamw", 0.01)
    changed = charts.load("lr_head: 1e-3\nlr_backbone: 1e-4\nlr_decay_rate: 0.398\nweight_decay: 0.06").train
    assert (changed.rates.head, changed.rates.backbone, changed.rates.decay) == (1e-3, 1e-4, 0.398)
    assert (changed.optimizer.weight_decay, changed.optimizer.lr, plain.optimizer.lr) == (0.06, 1e-3, 3e-4)
    assert "mine.yaml:4: lr_head: should be greater than 0, found -1" in charts.error("lr_head: -1")


def test_unfreezing(charts: Form) -> None:
    assert not charts.load().train.unfreeze.enabled
    more = "use_progressive_unfreezing: true\nauto_unfreeze:\n  stage1_epoch: 5\n  stage3_epoch: 40"
    unfreeze = charts.load(more).train.unfreeze
    assert (unfreeze.enabled, unfreeze.epochs) == (True, [5, 20, 40])
    wrong = charts.error("auto_unfreeze: {stage1_epoch: 50}")
    assert wrong.startswith("mine.yaml:4: auto_unfreeze.stage1_epoch: deeper stages come first")


def test_schedulers(charts: Form) -> None:
    plain = charts.load().train.schedule
    assert (plain.name, plain.each, plain.eta_min, plain.length) == ("cosine", "epoch", 1e-6, None)
    assert charts.load("scheduler: cosine\neta_min: 1e-5").train.schedule.eta_min == 1e-5
    step = charts.load("scheduler: step").train.schedule
    assert (step.name, step.step_size, step.gamma) == ("step", 30, 0.1)
    step = charts.load("scheduler: step\nscheduler_step_size: 3\nscheduler_gamma: 0.5").train.schedule
    assert (step.step_size, step.gamma) == (3, 0.5)
    assert charts.load("scheduler: null").train.schedule.name == "none"
    assert "mine.yaml:4: scheduler: unknown name 'cosin'; did you mean 'cosine'?" in charts.error("scheduler: cosin")


def test_stopping(charts: Form) -> None:
    plain = charts.load().train
    assert (plain.early_stopping.patience, plain.early_stopping.monitor, plain.select) == (10, "val_f1", "val_f1")
    assert plain.early_stopping.min_delta == 0
    assert charts.load("early_stopping_patience: 3").train.early_stopping.patience == 3
    assert plain.loss.class_weights == "uniform"


def test_folds(charts: Form) -> None:
    assert charts.load().store.split.by == "auto"
    assert charts.load("num_folds: 1\nfold: 0").store.split.by == "auto"
    config = charts.load("num_folds: 4\nfold: 2")
    assert (config.store.split.by, config.store.split.num_folds, config.train.fold) == ("kfold", 4, "fold2")
    assert "mine.yaml:5: fold: expected a number from 0 to num_folds" in charts.error("num_folds: 4\nfold: 4")


def test_clipping(charts: Form) -> None:
    assert not charts.load("use_agc: null").train.agc.enabled
    agc = charts.load("use_agc: true\nagc_clip_factor: 0.05\nagc_eps: 1e-2").train.agc
    assert (agc.enabled, agc.clip_factor, agc.eps) == (True, 0.05, 0.01)


def test_colours(charts: Form) -> None:
    more = "dataset_mean: [0.5, 0.5, 0.5]\ndataset_std: [0.25, 0.25, 0.25]"
    assert charts.load(more).train.model.normalize == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert "dataset_std: expected three numbers" in charts.error("dataset_mean: [0.5, 0.5, 0.5]")


def test_switches(charts: Form) -> None:
    plain = charts.load()
    assert (plain.train.epochs, plain.train.precision, plain.train.seed) == (100, "32", 42)
    assert (plain.train.device, plain.train.resume, plain.store.check) == ("auto", "last.ckpt", False)
    changed = charts.load(
        "max_epochs: 3\nprecision: 16-mixed\nseed: 7\nforce_cpu: true\ncheck_data: true\ncheckpoint_dir: ./c\n"
        "resume_from_checkpoint: epoch=00051-val_loss=0.7755-val_f1=0.6688.ckpt"
    )
    assert (changed.train.epochs, changed.train.precision, changed.train.seed) == (3, "16-mixed", 7)
    assert (changed.train.device, changed.store.check, changed.results) == ("cpu", True, "./c")
    assert changed.train.resume == "epoch=00051-val_loss=0.7755-val_f1=0.6688.ckpt"
    assert charts.load("resume_from_checkpoint: false").train.resume == "last.ckpt"


@pytest.mark.parametrize("key", [key.theirs for key in DIALECTS[1].keys if not key.ours and not key.rule])
def test_keys_without_effect_are_accepted(charts: Form, key: str) -> None:
    assert charts.load(f"{key}: 1") == charts.load()


def test_keys_of_two_guides(charts: Form) -> None:
    message = charts.error("model_name: resnet18")
    assert message.startswith("mine.yaml: mixes the keys of two guides: model_name (pochitrain's")


def test_a_config_of_ours_is_left_alone(charts: Form) -> None:
    charts.beginning = "name: x\nbatch_size: 3\n"
    assert "mine.yaml:2: batch_size: unknown key; did you mean 'train.batch_size'?" in charts.error()
