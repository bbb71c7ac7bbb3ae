import logging
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.core.times import read_time
from pipeline.store.images.content import read_content
from pipeline.store.images.listing import list_images
from pipeline.store.images.names import bars_of, parse_name
from pipeline.store.images.pictures import Listing
from pipeline.store.sections.images import ImagesConfig
from tests.store.images.made_up_images import CLASSES, name_of, pixels, save, settings, write_charts


def listed(home: Path, **images: object) -> Listing:
    return list_images(ImagesConfig.model_validate(images), home)


@pytest.mark.parametrize(
    ("stem", "dataset", "frame", "time", "label"),
    [
        ("dataset_a_15m_20240101_0900_label_0", "dataset_a", "15m", datetime(2024, 1, 1, 9), 0),
        ("dataset_a_15m_202401010915_label_12", "dataset_a", "15m", datetime(2024, 1, 1, 9, 15), 12),
        ("a_b_1d_c_1h_20240229_2359", "a_b_1d_c", "1h", datetime(2024, 2, 29, 23, 59), -1),
        ("日足_1d_20240101_0000_label_3", "日足", "1d", datetime(2024, 1, 1), 3),
    ],
)
def test_names_after_the_convention(stem: str, dataset: str, frame: str, time: datetime, label: int) -> None:
    name = parse_name(stem)
    assert name is not None
    assert (name.dataset, name.timeframe, name.time, name.label) == (dataset, frame, time, label)


@pytest.mark.parametrize(
    "stem",
    [
        "0",
        "eur_15m_20240230_0900_label_0",
        "eur_15m_20240101_2460_label_0",
        "eur_20240101_0900_label_0",
        "eur_15m_2024",
    ],
)
def test_other_names_are_none(stem: str) -> None:
    assert parse_name(stem) is None


def test_bars_and_times_of_texts() -> None:
    assert bars_of("eur_15m_winsize40") == 40
    assert bars_of("eur_15m") is None
    assert read_time("2024.1.31 09:15") == datetime(2024, 1, 31, 9, 15)
    assert read_time("2024/01/31T09:15:30") == datetime(2024, 1, 31, 9, 15, 30)
    assert read_time("20240131 0915") == datetime(2024, 1, 31, 9, 15)
    assert read_time("yesterday") is None


def test_a_folder_after_the_convention(tmp_path: Path) -> None:
    root = write_charts(tmp_path)
    found = listed(tmp_path, datasets=[root])
    assert len(found.pictures) == 80
    assert found.bars == 4
    first = found.pictures[0]
    assert first.id == f"eur_15m_winsize4/train/Up/{name_of(0, 0)}"
    assert (first.group, first.split, first.label, first.number) == ("eur", "train", "Up", 0)
    assert [one.time for one in found.pictures] == sorted(one.time for one in found.pictures if one.time)


def test_several_datasets_in_order_of_time_and_timeframes_kept_apart(tmp_path: Path) -> None:
    roots = [write_charts(tmp_path), write_charts(tmp_path, dataset="usd")]
    other = tmp_path / "eur_1h_winsize9" / "train" / "Up"
    save(other / name_of(0, 0, frame="1h"), pixels(0))
    found = listed(tmp_path, datasets=[*roots, "eur_1h_winsize9"])
    assert {one.group for one in found.pictures} == {"eur_15m", "eur_1h", "usd"}
    assert [one.id for one in found.pictures[:3]] == [
        f"eur_15m_winsize4/train/Up/{name_of(0, 0)}",
        f"eur_1h_winsize9/train/Up/{name_of(0, 0, frame='1h')}",
        f"usd_15m_winsize4/train/Up/{name_of(0, 0, 'usd')}",
    ]
    assert found.bars == 9


def test_times_are_of_their_time_zone(tmp_path: Path) -> None:
    root = write_charts(tmp_path)
    first = listed(tmp_path, datasets=[root], timezone="Asia/Tokyo").pictures[0]
    assert (first.time, first.local) == (datetime(2024, 1, 1, 0), datetime(2024, 1, 1, 9))
    with pytest.raises(InputError, match=r"store.images.timezone: no time zone 'Asia/Tokio'"):
        listed(tmp_path, datasets=[root], timezone="Asia/Tokio")


def test_plain_class_folders_with_any_names_nested_and_noise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, place in enumerate(["train/cat/a.png", "train/cat/more/b.JPG", "train/dog/a.png", "val/cat/x.bmp"]):
        save(tmp_path / place, pixels(number))
    for noise in ("train/cat/.hidden.png", "train/.git/x.png", "train/dog/notes.txt", "train/dog/Thumbs.db"):
        (tmp_path / noise).parent.mkdir(exist_ok=True)
        (tmp_path / noise).write_bytes(b"")
    (tmp_path / "val/dog").mkdir()
    with caplog.at_level(logging.WARNING, "isobar"):
        found = listed(tmp_path, train="train", val="val")
    assert [one.id for one in found.pictures] == [
        "train/cat/a.png", "train/cat/more/b.JPG", "train/dog/a.png", "val/cat/x.bmp",
    ]  # fmt: skip
    assert [one.label for one in found.pictures] == ["cat", "cat", "dog", "cat"]
    assert not found.timed
    assert "1 files are no images and are left out: dog/notes.txt" in caplog.text
    assert "val/dog: no image in this class folder" in caplog.text


def test_plain_folders_use_the_convention_if_all_names_follow_it(tmp_path: Path) -> None:
    root = write_charts(tmp_path)
    assert listed(tmp_path, train=f"{root}/train").timed
    assert listed(tmp_path, train=f"{root}/train").bars == 4
    assert not listed(tmp_path, train=f"{root}/train", names="any").timed
    save(tmp_path / root / "train/Up/0.png", pixels(0))
    assert not listed(tmp_path, train=f"{root}/train").timed
    with pytest.raises(InputError, match=r"0.png: the name does not follow the convention"):
        listed(tmp_path, train=f"{root}/train", names="convention")
    with pytest.raises(InputError, match=r"0.png: the name does not follow the convention, nor do those of 0 other"):
        listed(tmp_path, datasets=[root])


def test_folder_and_number_disagree(tmp_path: Path) -> None:
    root = write_charts(tmp_path)
    wrong = tmp_path / root / "train" / "Up" / name_of(61, 1)
    save(wrong, pixels(0))
    with pytest.raises(InputError, match=f"{wrong.name}: label 1 in class folder 'Up', where .* has label 0"):
        listed(tmp_path, datasets=[root])
    wrong.unlink()
    save(tmp_path / root / "train" / "Sideways" / name_of(61, 1), pixels(0))
    with pytest.raises(InputError, match=r"label 1 in class folder 'Sideways', but .* has it in folder 'Down'"):
        listed(tmp_path, datasets=[root])


def test_class_sets_of_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_charts(tmp_path, {"train": range(60), "val": [70, 73]})
    with caplog.at_level(logging.WARNING, "isobar"):
        content = read_content(settings({"datasets": [root]}), tmp_path)
    assert "no class folder in val for Flat, Up" in caplog.text
    assert content.labels.classes == ("Up", "Down", "Flat"), "in the order of their numbers"
    (tmp_path / root / "val" / "Upp").mkdir()
    with pytest.raises(InputError, match=r"class folder Upp is in val but not in train; did you mean 'Up'"):
        read_content(settings({"datasets": [root]}), tmp_path)


def test_listed_classes_decide_the_order_and_what_is_allowed(tmp_path: Path) -> None:
    root = write_charts(tmp_path)
    order = ["Flat", "Up", "Down", "Never"]
    content = read_content(settings({"datasets": [root]}, target={"classes": order}), tmp_path)
    assert content.labels.classes == tuple(order)
    with pytest.raises(InputError, match=r"store.target.classes: Flat not listed"):
        read_content(settings({"datasets": [root]}, target={"classes": ["Up", "Down"]}), tmp_path)


def test_the_number_of_classes_can_be_checked(tmp_path: Path) -> None:
    root = write_charts(tmp_path)
    read_content(settings({"datasets": [root]}, target={"num_classes": 3}), tmp_path)
    with pytest.raises(InputError, match=r"store.target.num_classes: 4, but the labels have 3 classes: Up, Down, Flat"):
        read_content(settings({"datasets": [root]}, target={"num_classes": 4}), tmp_path)
    with pytest.raises(ValueError, match=r"num_classes is 4, but classes lists 2"):
        settings({"datasets": [root]}, target={"num_classes": 4, "classes": ["Up", "Down"]})


@pytest.mark.parametrize(
    ("make", "images", "message"),
    [
        ([], {"datasets": ["none"]}, "store.images.datasets: .*none: no such folder"),
        (["a/Up/x.png"], {"datasets": ["a"]}, r"a: no folder train in it \(found Up\); .* store.images.train"),
        (["a/train/x.png"], {"datasets": ["a"]}, "x.png: an image outside a class folder"),
        (["a/train/Up/x.txt"], {"train": "a/train"}, "no image below .*a/train; image files end in .png"),
        (["a/x.txt"], {"train": "a"}, "a: no class folder in it"),
        (["x.png"], {"train": "x.png"}, "store.images.train: .*x.png: not a folder"),
    ],
)
def test_what_is_no_image_folder(tmp_path: Path, make: list[str], images: dict[str, object], message: str) -> None:
    for place in make:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"x")
    with pytest.raises(InputError, match=message):
        listed(tmp_path, **images)


# --- the CSV list ----------------------------------------------------------------------------------------------------


def write_list(home: Path, *lines: str) -> Path:
    for number in range(4):
        save(home / "photos" / f"{number}.png", pixels(number))
    (home / "list.csv").write_text("\n".join(lines) + "\n")
    return home


def test_a_list_with_times_groups_and_splits(tmp_path: Path) -> None:
    lines = [
        "file,label,time,group,split",
        "photos/1.png,cat,2024-01-02 09:00+09:00,b,val",
        "photos/0.png,dog,2024/01/01 09:00,a,train",
    ]
    found = listed(write_list(tmp_path, *lines), table="list.csv", timezone="Asia/Tokyo")
    assert [(one.id, one.label, one.group, one.split) for one in found.pictures] == [
        ("photos/0.png", "dog", "a", "train"),
        ("photos/1.png", "cat", "b", "val"),
    ]
    assert [one.time for one in found.pictures] == [datetime(2024, 1, 1), datetime(2024, 1, 2)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,lable", "photos/0.png,a"], "list.csv:1: no column 'label'; did you mean 'lable'"),
        (["file,label,tme", "photos/0.png,a,1"], "list.csv:1: unknown column 'tme'; did you mean 'time'"),
        (["file,label", "photos/0.png,a", "photos/9.png,b"], "list.csv:3: photos/9.png: no such file"),
        (["file,label", "photos/0.png,a", "photos/0.png,b"], "list.csv:3: photos/0.png is listed in line 2 already"),
        (["file,label", "photos/0.png,"], "list.csv:2: photos/0.png: no label"),
        (["file,label", "photos/0.png,a,b"], "list.csv:2: 3 cells, the header has 2"),
        (["file,label,time", "photos/0.png,a,noon"], "list.csv:2: time 'noon'; expected"),
        (["file,label,time", "photos/0.png,a,2024-01-01", "photos/1.png,a,"], "list.csv:3: no time, though other"),
        (["file,label,split", "photos/0.png,a,dev"], "list.csv:2: split 'dev'; allowed: train, val, test"),
        (["file,label"], "list.csv: lists no image"),
        (["file,label", "list.csv,a"], "list.csv:2: list.csv: not an image file"),
        (["file,file,label"], "list.csv:1: column 'file' occurs twice"),
    ],
)
def test_wrong_lists_are_told_by_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        listed(write_list(tmp_path, *lines), table="list.csv")


@pytest.mark.parametrize(
    "images",
    [{}, {"datasets": ["a"], "train": "b"}, {"datasets": ["a", "a"]}, {"datasets": ["a"], "val": "b"},
     {"train": "a", "test": "a"}, {"train": "a", "size": 4}, {"train": "a", "skip_broken": 1}],
)  # fmt: skip
def test_contradictory_settings_are_refused(images: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        ImagesConfig.model_validate(images)


def test_maps_and_images_do_not_mix() -> None:
    for wrong in (
        {"series": {"files": ["a.csv"]}},
        {"split": {"by": "kfold"}},
        {"images": {"train": "a"}, "coarsen": 2},
        {"images": {"train": "a"}, "split": {"by": "random_days"}},
        {"images": {"train": "a"}, "series": {"files": ["a.csv"], "offset": 1}},
    ):
        with pytest.raises(ValueError, match=r"validation error"):
            settings(**wrong) if "images" in wrong else type(settings({"train": "a"})).model_validate(wrong)


def test_made_up_classes_have_numbers() -> None:
    assert [parse_name(Path(name_of(bar, bar % 3)).stem).label for bar in range(3)] == [*range(len(CLASSES))]  # type: ignore[union-attr]
