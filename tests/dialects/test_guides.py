"""What stands in the guides themselves is accepted, block by block; and what both dialects share."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipeline.core.config import dump, load
from pipeline.core.errors import InputError
from pipeline.experiment import Experiment
from tests.conftest import ROOT, SHARED
from tests.dialects.configs import POCHI, Form, load_text

GUIDES = SHARED / "reference"
EXAMPLES = sorted((ROOT / "configs" / "examples").glob("*.*"))
needs_guides = pytest.mark.skipif(not GUIDES.exists(), reason="the guides (../shared/reference) are not here")


def blocks(guide: str, language: str) -> list[str]:
    text = (GUIDES / guide).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@needs_guides
def test_every_python_block_of_pochitrains_guide_loads(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    head = "from torchvision import transforms\nmean, std = [0.5] * 3, [0.25] * 3\noptuna = {}\n"
    found = blocks("pochitrain_configuration_ja.txt", "python")
    assert len(found) > 25
    loaded = [load_text(tmp_path, f"{head}{POCHI}{block}", "mine.py") for block in found]
    # They are no empty gesture: what they set differs from block to block.
    assert len({dump(config) for config in loaded}) > 15


@needs_guides
@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_yaml_blocks_of_the_image_classifiers_guide_load(tmp_path: Path, language: str) -> None:
    found = [yaml.safe_load(block) for block in blocks(f"image_classifier_readme_{language}.txt", "yaml")]
    together = {key: value for block in found for key, value in (block or {}).items()}
    assert together["model_mode"] == "multi"
    together |= {"model_architecture_name": "nfnet"}
    config = load_text(tmp_path, yaml.safe_dump(together), "mine.yaml")
    assert config.store.images is not None
    assert len(config.store.images.datasets) == 3
    assert config.store.target.classes == ["Class_A", "Class_B", "Class_C"]
    assert config.train.inputs == ["image", "series"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_what_an_example_comes_to_is_a_config_of_ours(path: Path, tmp_path: Path) -> None:
    if path.suffix == ".py":
        pytest.importorskip("torchvision")
    config = load(path, Experiment).config
    assert load_text(tmp_path, dump(config), "again.yaml") == config


def test_examples_are_three() -> None:
    names = ["image_classifier_multi.yaml", "image_classifier_single.yaml", "pochi_train_config.py"]
    assert [path.name for path in EXAMPLES] == names


def test_a_mistake_deep_in_a_dict_has_its_own_line(pochi: Form) -> None:
    rates = "layer_wise_lr_config = {\n 'layer_rates': {\n  'conv1': 1e-4,\n  'fc': 'fast',\n }}\n"
    assert pochi.error(f"{rates}enable_layer_wise_lr = True").startswith(
        "mine.py:15: layer_wise_lr_config.layer_rates.fc: should be a valid number"
    )


def test_an_override_of_ours_is_named_as_it_was_typed(pochi: Form) -> None:
    assert pochi.load("", "train.optimizer.lr=0.5").train.optimizer.lr == 0.5
    assert "command line: train.optimizer.lr: should be greater than 0" in pochi.error("", "train.optimizer.lr=0")


def test_an_empty_section_of_ours_is_none(charts: Form) -> None:
    assert charts.load("train:\nstore:\n") == charts.load()


def test_a_value_in_place_of_a_section_of_ours(charts: Form) -> None:
    assert "mine.yaml:4: train: should be a valid dictionary" in charts.error("train: 3")


def test_from_python_as_from_the_command_line(pochi: Form) -> None:
    with pytest.raises(InputError, match=r"^サポートされていないスケジューラー: CustomLR$") as error:
        pochi.load("scheduler = 'CustomLR'")
    assert error.value.exit_code == 2
