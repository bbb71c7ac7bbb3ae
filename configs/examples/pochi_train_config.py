"""A config written after pochitrain's configuration guide; every key of it is read as it stands.

    python jobs/chain.py configs/examples/pochi_train_config.py

Data: data/photos/{train,val}/<class>/*.png, any number of classes; docs/settings.md says what each key is here.
"""

from torchvision import transforms

# model
model_name = "resnet18"
num_classes = 4
pretrained = False  # True fetches weights from the hub

# data
train_data_root = "data/photos/train"
val_data_root = "data/photos/val"  # None: train without validation
batch_size = 16
num_workers = 0

# training
epochs = 3
learning_rate = 0.001
optimizer = "Adam"
scheduler = "ExponentialLR"
scheduler_params = {"gamma": 0.95}
class_weights = None  # automatic

# transforms
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
train_transform = transforms.Compose(
    [
        transforms.RandomResizedCrop(32),
        transforms.RandomHorizontalFlip(p=0.5),
        transforms.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1),
        transforms.ToTensor(),
        transforms.Normalize(mean=mean, std=std),
    ]
)
val_transform = transforms.Compose(
    [
        transforms.Resize(40),
        transforms.CenterCrop(32),
        transforms.ToTensor(),
        transforms.Normalize(mean=mean, std=std),
    ]
)

# others
enable_metrics_export = True
work_dir = "work_dirs"
device = None
cudnn_benchmark = False

enable_layer_wise_lr = True
layer_wise_lr_config = {
    "layer_rates": {
        "conv1": 0.0001,
        "bn1": 0.0001,
        "layer1": 0.0002,
        "layer2": 0.0005,
        "layer3": 0.001,
        "layer4": 0.002,
        "fc": 0.01,
    },
    "graph_config": {"use_log_scale": False},
}

early_stopping = {"enabled": True, "patience": 30, "min_delta": 3.0, "monitor": "val_accuracy"}

enable_gradient_tracking = True
gradient_tracking_config = {
    "record_frequency": 1,
    "exclude_patterns": ["fc\\.", "\\.bias"],
    "group_by_block": True,
    "aggregation_method": "median",
}

confusion_matrix_config = {
    "title": "混同行列",
    "xlabel": "予測ラベル",
    "ylabel": "実際ラベル",
    "fontsize": 14,
    "title_fontsize": 16,
    "label_fontsize": 12,
    "figsize": (8, 6),
    "cmap": "Blues",
}

optuna = {
    "study_name": "pochitrain_optimization",
    "direction": "maximize",
    "n_trials": 20,
    "n_jobs": 1,
    "optuna_epochs": 10,
    "sampler": "TPESampler",
    "pruner": "MedianPruner",
    "storage": None,
    "search_space": {
        "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
        "batch_size": {"type": "categorical", "choices": [16, 32]},
    },
}
