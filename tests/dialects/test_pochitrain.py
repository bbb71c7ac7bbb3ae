"""Every key of pochitrain's guide is the setting that docs/settings.md says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.dialects import DIALECTS
from pipeline.dialects.pochitrain import MISSING_TRANSFORM, NO_LAYER_RATES
from pipeline.train.sections import optimisation, transforms
from tests.dialects.configs import Form


def test_basic_keys(pochi: Form) -> None:
    config = pochi.load()
    assert config.name == "mine"
    assert config.store.images is not None
    assert (config.store.images.train, config.store.images.val) == ("data/train", "data/val")
    assert config.store.target.num_classes == 4
    train = config.train
    assert (train.model.backbone, train.model.pretrained) == ("resnet18", False)
    assert (train.epochs, train.batch_size, train.optimizer.lr) == (20, 32, 0.01)
    assert (train.model.hidden, train.model.head_dropout, train.model.drop_path) == (0, 0, 0)
    assert config.not_needed() == ("download", "derive")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("learning_rate = 0", "mine.py:12: learning_rate: expected a rate above 0 and up to 1, found 0"),
        ("learning_rate = 1.5", "mine.py:12: learning_rate: expected a rate above 0 and up to 1, found 1.5"),
        ("epochs = 0", "mine.py:12: epochs: should be greater than or equal to 1, found 0"),
        ("epochs = True", "mine.py:12: epochs: expected a number, found True"),
        ("batch_size = 'many'", "mine.py:12: batch_size: should be a valid integer, unable to parse string"),
        ("train_data_root = ''", "mine.py:12: train_data_root: expected a path, found an empty text"),
        ("optimizer = 'RMSprop'", "mine.py:12: optimizer: unknown name 'RMSprop'. Allowed: Adam, AdamW, SGD"),
        ("device = 'tpu'", "mine.py:12: device: unknown name 'tpu'"),
        ("epoch = 3", "mine.py:12: epoch: unknown key; did you mean 'epochs'? A variable of your own begins with _."),
        ("early_stopping = {\n'patiense': 3}", "mine.py:13: early_stopping.patiense: unknown key; did you mean 'pat"),
        ("early_stopping = 3", "mine.py:12: early_stopping: expected keys and values, found 3"),
        ("early_stopping = {'monitor': 'accuracy'}", "mine.py:12: early_stopping.monitor: unknown name 'accuracy'"),
        ("gradient_tracking_config = {'aggregation_method': 'p99'}", "aggregation_method: unknown name 'p99'"),
        ("optuna = {'pruner': 'HyperPruner'}", "mine.py:12: optuna.pruner: unknown name 'HyperPruner'"),
        ("class_weights = [1, 0, 1, 1]", "mine.py:12: class_weights: expected null, balanced, uniform, or a list"),
    ],
)
def test_a_wrong_value_names_the_users_key_and_line(pochi: Form, more: str, expected: str) -> None:
    assert expected in pochi.error(more)


def test_all_mistakes_at_once(pochi: Form) -> None:
    lines = pochi.error("learning_rat = 1\noptimizer = 'Adm'\nscheduler = 'CustomLR'").splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        "mine.py:12:",
        "mine.py:13:",
        "サポートされていないスケジューラー:",
    ]


def test_optimizers_have_the_guides_constants(pochi: Form) -> None:
    def optimizer(name: str) -> Any:
        return pochi.load(f"optimizer = {name!r}").train.optimizer

    assert (optimizer("Adam").name, optimizer("Adam").weight_decay) == ("adam", 0)
    assert (optimizer("AdamW").name, optimizer("AdamW").weight_decay) == ("adamw", 0.01)
    sgd = optimizer("SGD")
    assert (sgd.name, sgd.momentum, sgd.weight_decay, sgd.nesterov) == ("sgd", 0.9, 1e-4, False)
    assert pochi.load("train = {'optimizer': {'weight_decay': 0.3}}").train.optimizer.weight_decay == 0.3


def test_without_validation_the_last_epoch_is_kept(pochi: Form) -> None:
    config = pochi.load("val_data_root = None")
    assert config.store.images is not None
    assert config.store.images.val == ""
    assert (config.store.split.by, config.store.split.val_share, config.train.select) == ("folders", 0, "last")
    assert config.train.early_stopping.patience == 0
    message = pochi.error("val_data_root = None\nearly_stopping = {'enabled': True}")
    assert message == "mine.py:13: early_stopping.enabled: needs validation data: set val_data_root, or write False"


def test_switches(pochi: Form) -> None:
    config = pochi.load()
    assert (config.results, config.train.device, config.train.cudnn_benchmark) == ("work_dirs", "auto", False)
    assert config.train.export_metrics
    changed = pochi.load("work_dir = 'w'\ndevice = 'cpu'\ncudnn_benchmark = True\nenable_metrics_export = False")
    assert (changed.results, changed.train.device, changed.train.cudnn_benchmark) == ("w", "cpu", True)
    assert not changed.train.export_metrics
    assert pochi.load("device = None").train.device == "auto"
    assert config.train.tensorboard.scalars
    assert not pochi.load("enable_tensorboard = False").train.tensorboard.scalars


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("StepLR", {"step_size": 30, "gamma": 0.1}, {"name": "step", "step_size": 30, "gamma": 0.1}),
        (
            "MultiStepLR",
            {"milestones": [30, 60, 90], "gamma": 0.1},
            {"name": "multistep", "milestones": [30, 60, 90], "gamma": 0.1},
        ),
        ("CosineAnnealingLR", {"T_max": 50}, {"name": "cosine", "length": 50, "each": "epoch"}),
        ("ExponentialLR", {"gamma": 0.95}, {"name": "exponential", "gamma": 0.95}),
        (
            "LinearLR",
            {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 100},
            {"name": "linear", "start": 1.0, "final": 0.1, "length": 100, "each": "epoch"},
        ),
        (None, None, {"name": "none"}),
    ],
)
def test_schedulers(pochi: Form, name: str | None, parameters: Any, expected: dict[str, Any]) -> None:
    schedule = pochi.load(f"scheduler = {name!r}\nscheduler_params = {parameters!r}").train.schedule
    assert schedule.model_dump(include=set(expected)) == expected
    assert pochi.load().train.schedule.name == "none"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("scheduler = 'StepLR'", "mine.py: scheduler_params: StepLR needs step_size; allowed: step_size, gamma"),
        (
            "scheduler = 'StepLR'\nscheduler_params = {'step_size': 3, 'gama': 0.1}",
            "mine.py:13: scheduler_params: StepLR has no 'gama'; did you mean 'gamma'? Allowed: step_size, gamma",
        ),
        (
            "scheduler = 'ExponentialLR'\nscheduler_params = {'gamma': 5}",
            "mine.py:13: scheduler_params.gamma: ExponentialLR needs a factor between 0 and 1, found 5",
        ),
        ("scheduler_params = {'gamma': 5}", "mine.py:12: scheduler_params: scheduler is None; name one"),
    ],
)
def test_wrong_schedulers(pochi: Form, more: str, expected: str) -> None:
    assert expected in pochi.error(more)


def test_the_guides_four_messages_are_the_whole_line(pochi: Form) -> None:
    assert pochi.error("class_weights = [1, 2, 3]") == "クラス重みの長さ(3)がクラス数(4)と一致しません"
    assert pochi.error("scheduler = 'CustomLR'") == "サポートされていないスケジューラー: CustomLR"
    missing = "transformは必須です. 未設定 (None) の場合はエラーになります"
    assert pochi.error("train_transform = None") == missing
    assert pochi.error(without="val_transform") == missing
    rates = "層別学習率が有効ですが layer_rates が定義されていません"
    assert pochi.error("enable_layer_wise_lr = True") == rates
    assert pochi.error("enable_layer_wise_lr = True\nlayer_wise_lr_config = {'layer_rates': {}}") == rates
    assert (MISSING_TRANSFORM, NO_LAYER_RATES) == (transforms.MISSING, optimisation.NO_LAYER_RATES)


def test_layer_rates(pochi: Form) -> None:
    more = """
layer_wise_lr_config = {
    "layer_rates": {r"layer[12]": 0.0002, "layer4": 0.002, "fc": 0.01},
    "graph_config": {"use_log_scale": False},
}
"""
    rates = pochi.load("enable_layer_wise_lr = True" + more).train.rates
    assert rates.by == "layers"
    assert list(rates.layer_rates.items()) == [("layer[12]", 0.0002), ("layer4", 0.002), ("fc", 0.01)]
    assert not rates.log_scale
    off = pochi.load("enable_layer_wise_lr = False" + more).train.rates
    assert (off.by, off.layer_rates) == ("one", {})
    message = pochi.error("enable_layer_wise_lr = True" + more.replace("0.002,", "-1,"))
    assert message == "mine.py:14: layer_wise_lr_config.layer_rates.layer4: should be greater than 0, found -1"


def test_early_stopping(pochi: Form) -> None:
    plain = pochi.load()
    assert (plain.train.early_stopping.patience, plain.train.select) == (0, "val_accuracy")
    stopping = pochi.load("early_stopping = {'enabled': True}").train.early_stopping
    assert (stopping.patience, stopping.min_delta, stopping.monitor) == (30, 3.0, "val_accuracy")
    more = "early_stopping = {'enabled': True, 'patience': 4, 'min_delta': 0.0, 'monitor': 'val_loss'}"
    changed = pochi.load(more).train
    assert (changed.early_stopping.patience, changed.early_stopping.min_delta) == (4, 0)
    assert (changed.early_stopping.monitor, changed.select) == ("val_loss", "val_loss")
    assert pochi.load(more.replace("True", "False")).train.early_stopping.patience == 0


def test_gradient_tracking(pochi: Form) -> None:
    plain = pochi.load().train.gradients
    assert (plain.enabled, plain.record_frequency, plain.exclude_patterns) == (False, 1, ["fc\\.", "\\.bias"])
    assert (plain.group_by_block, plain.aggregation_method) == (True, "median")
    changed = pochi.load(
        "enable_gradient_tracking = True\n"
        "gradient_tracking_config = {'record_frequency': 2, 'exclude_patterns': ('bn',), 'group_by_block': False,"
        " 'aggregation_method': 'rms'}"
    ).train.gradients
    assert (changed.enabled, changed.record_frequency, changed.exclude_patterns) == (True, 2, ["bn"])
    assert (changed.group_by_block, changed.aggregation_method) == (False, "rms")


def test_class_weights(pochi: Form) -> None:
    assert pochi.load("class_weights = None").train.loss.class_weights is None
    assert pochi.load("class_weights = (1.0, 2.0, 1.5, 0.8)").train.loss.class_weights == [1.0, 2.0, 1.5, 0.8]


def test_colours(pochi: Form) -> None:
    more = "mean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]"
    assert pochi.load(more).train.model.normalize == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert "mine.py:12: mean: expected three numbers" in pochi.error("mean = [0.5]\nstd = [1, 1, 1]")
    assert pochi.load().train.model.normalize == "model"


class Resize:
    """As torchvision's: an object with its arguments as attributes."""

    def __init__(self, size: Any) -> None:
        self.size = size


def test_transforms_of_the_guide(pochi: Form) -> None:
    config = pochi.load(
        "train_transform = [{'RandomResizedCrop': {'size': 224}}, 'ToTensor']\n"
        "val_transform = [{'Resize': {'size': 256}}, {'CenterCrop': 224}, 'ToTensor']"
    )
    assert config.train.augment.transforms == [{"RandomResizedCrop": {"size": 224}}, {"ToTensor": {}}]
    assert config.train.model.transforms == [{"Resize": {"size": 256}}, {"CenterCrop": 224}, {"ToTensor": {}}]
    assert config.store.images is not None
    assert (config.store.images.size, config.store.images.fit) == (256, "crop")
    both = pochi.load("val_transform = [{'Resize': [64, 48]}, 'ToTensor']").store.images
    assert both is not None
    assert (both.size, both.fit) == ((64, 48), "resize")
    own = pochi.load("val_transform = [{'Resize': 64}, 'ToTensor']\nstore = {'images': {'size': 96}}").store.images
    assert own is not None
    assert own.size == 96
    assert "val_transform: unknown transform 'ToTensr'; did you mean" in pochi.error("val_transform = ['ToTensr']")


def test_transforms_as_functions_and_helpers_in_the_file(pochi: Form) -> None:
    head = "import math as datasets\nimport math as optuna\n_size = 64\n"
    config = pochi.load(head + "def half(image):\n    return image / 2\ntrain_transform = half")
    (kept,) = config.train.augment.transforms or []
    assert kept(8) == 4


def test_confusion_matrix(pochi: Form) -> None:
    plain = pochi.load().report.confusion_matrix
    assert (plain.title, plain.xlabel, plain.ylabel) == ("Confusion Matrix", "Predicted Label", "True Label")
    assert (plain.fontsize, plain.title_fontsize, plain.label_fontsize) == (14, 16, 12)
    assert (plain.figsize, plain.cmap) == ((8, 6), "Blues")
    changed = pochi.load("confusion_matrix_config = {'title': '混同行列', 'figsize': (8.5, 6), 'cmap': 'Greens'}")
    assert (changed.report.confusion_matrix.title, changed.report.confusion_matrix.figsize) == ("混同行列", (8.5, 6))
    assert changed.report.confusion_matrix.cmap == "Greens"


def test_keys_without_effect_are_accepted(pochi: Form) -> None:
    inert = [key.theirs for key in DIALECTS[0].keys if not key.ours and "." not in key.theirs]
    assert "num_workers" in inert
    assert "pin_memory" in inert
    assert pochi.load("\n".join(f"{name} = 1" for name in inert)) == pochi.load()


def test_optuna_is_accepted(pochi: Form) -> None:
    more = (
        "optuna = {'study_name': 's', 'direction': 'minimize', 'n_trials': 3, 'n_jobs': 1, 'optuna_epochs': 2}\n"
        "optuna['sampler'] = 'GridSampler'\noptuna['pruner'] = None\noptuna['storage'] = None\n"
        "optuna['search_space'] = {'scheduler_gamma': {'type': 'float', 'low': 0.85, 'high': 0.99}}"
    )
    assert pochi.load(more) == pochi.load()
    assert "study_nam: unknown key; did you mean 'study_name'?" in pochi.error("optuna = {'study_nam': 's'}")


def test_our_sections_beside_theirs(pochi: Form) -> None:
    config = pochi.load("name = 'own'\ntrain = {'seed': 7, 'early_stopping': {'patience': 2}}")
    assert (config.name, config.train.seed, config.train.early_stopping.patience) == ("own", 7, 2)
    message = pochi.error("train = {'epochs': 3}")
    assert message == "mine.py:7: epochs: is set by train.epochs as well (mine.py:12); keep one"


def test_overrides_take_either_name(pochi: Form) -> None:
    assert pochi.load("", "train.epochs=3").train.epochs == 3
    assert pochi.load("", "epochs=4", "early_stopping.enabled=true").train.epochs == 4
    assert "command line: epochs: should be a valid integer" in pochi.error("", "epochs=x")
    assert "command line: train.epochs: should be a valid integer" in pochi.error("", "train.epochs=x")


def test_paths_may_be_objects(pochi: Form, tmp_path: Path) -> None:
    config = pochi.load("from pathlib import Path\ntrain_data_root = Path('a') / 'b'")
    assert config.store.images is not None
    assert config.store.images.train == "a/b"


def test_yaml_in_the_guides_keys(pochi: Form) -> None:
    pochi.name, pochi.beginning = "mine.yaml", pochi.beginning.replace(" = ", ": ").replace("False", "false")
    assert pochi.load("class_weights: [1, 2, 3, 4]").train.loss.class_weights == [1, 2, 3, 4]
