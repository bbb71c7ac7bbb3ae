import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.contract.pointer import image_store_version
from pipeline.contract.store import Rows, Store
from pipeline.core.artifact import check_files, read_json, sha256
from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.store.config import StoreConfig, image_pointer
from pipeline.store.images import decode as decoding
from pipeline.store.images import stage
from pipeline.store.images.preflight import table
from tests.stopping import StopAt
from tests.store.images.made_up_images import (
    CLASSES,
    build,
    feature,
    name_of,
    pixels,
    save,
    settings,
    time_of,
    write_charts,
    write_series,
)


def charts(home: Path, **other: object) -> StoreConfig:
    """60, 10 and 10 images of 4 bars with windows of 5 rows."""
    series = {"files": ["rates.csv"], "window_size": 5}
    write_series(home / "rates.csv", range(110))
    return settings({"datasets": [write_charts(home)], "workers": 2}, series=series, **other)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StoreConfig, Store]:
    home = tmp_path_factory.mktemp("charts")
    config = charts(home)
    return home, config, build(home, config)


def bars_of(store: Store) -> np.ndarray:
    time = np.char.rstrip(store.column("time"), "Z").astype("datetime64[m]")
    minutes = (time - np.datetime64(time_of(0), "m")).astype(int)
    return minutes // 15


def test_pixels_targets_and_index_are_those_of_the_files(made: tuple[Path, StoreConfig, Store]) -> None:
    home, _, store = made
    spec = store.spec
    assert (spec.samples, spec.target.kind, spec.target.classes) == (80, "single_label", CLASSES)
    assert (spec.inputs["image"].shape, spec.inputs["image"].dtype) == ((3, 16, 24), "uint8")
    images = store.rows("image").read(np.arange(80))
    for row, bar in enumerate(bars_of(store).tolist()):
        assert np.array_equal(images[row], pixels(bar).transpose(2, 0, 1))
        assert store.target[row].tolist() == [bar % 3 == number for number in range(3)]
        assert store.column("label")[row] == CLASSES[bar % 3]
    assert store.column("id")[0] == f"eur_15m_winsize4/train/Up/{name_of(0, 0)}"
    assert set(store.column("group")) == {"eur"}
    assert store.column("date")[0] == "2024-01-01"
    assert len(set(store.column("id"))) == 80
    sums = np.load(store.folder / "sha256.npy")
    assert [value.tobytes().hex() for value in sums] == [sha256(home / name) for name in store.column("id").tolist()]
    check_files(store.folder, store.spec.files, contents=True)


def test_windows_are_standardised_by_the_training_rows(made: tuple[Path, StoreConfig, Store]) -> None:
    _, _, store = made
    spec = store.spec.inputs["series"]
    assert (spec.shape, spec.channels, spec.masked, spec.missing) == ((5, 2), ("f0", "f1"), True, ("f0", "f1"))
    windows = store.rows("series").read(np.arange(80)).astype(np.float64)
    scale = store.scale["default"]["series"]
    training = bars_of(store)[store.fold().train]
    seen = sorted({row for bar in training for row in range(max(0, bar - 4), bar + 1)})
    for column in range(2):
        values = np.array([feature(row, column) for row in seen])
        assert scale["count"][column] == len(seen)
        assert scale["mean"][column] == pytest.approx(values.mean(), rel=1e-12)
        assert scale["std"][column] == pytest.approx(values.std(), rel=1e-12)
        for row, bar in enumerate(bars_of(store).tolist()):
            wanted = [feature(b, column) if b >= 0 else np.nan for b in range(bar - 4, bar + 1)]
            back = windows[row, :, column] * values.std() + values.mean()
            # float32 standardised values of size 1, times a standard deviation of 180: 180 · 6e-8 · 2
            np.testing.assert_allclose(back, wanted, atol=5e-5, equal_nan=True)


def test_splits_keep_their_distance_and_the_preflight_says_so(made: tuple[Path, StoreConfig, Store]) -> None:
    _, _, store = made
    fold = store.fold()
    assert [len(fold.train), len(fold.val), len(fold.test)] == [60, 10, 10]
    facts = store.spec.preflight
    assert (facts["image_bars"], facts["embargo_bars"]) == (4, 4)
    assert facts["folds"]["default"]["overlaps"] == 0
    assert facts["series"]["windows_short"] == 4
    text = table(facts)
    assert "80 images, 2024-01-01 to 2024-01-02" in text
    assert "share bars with a training image: 0 (embargo 4 bars)" in text
    assert [line.split() for line in text.splitlines() if line.startswith("Down")] == [["Down", "20", "4", "3", "33.3"]]


def test_the_scale_of_images_is_for_information(made: tuple[Path, StoreConfig, Store]) -> None:
    _, _, store = made
    assert store.affine("image", "default").identity
    train = store.rows("image").read(store.fold().train) / 255.0
    scale = store.scale["default"]["image"]
    np.testing.assert_allclose(scale["mean"], train.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(scale["std"], train.std(axis=(0, 2, 3)), rtol=1e-12)


def test_each_fold_has_its_scale_and_reaches_it_by_an_affine_map(tmp_path: Path) -> None:
    store = build(tmp_path, charts(tmp_path, split={"by": "walk_forward", "num_folds": 2}))
    assert store.spec.folds == ("default", "fold0", "fold1")
    affine = store.affine("series", "fold0")
    stored = store.rows("series").read(store.fold("fold0").train)
    values = stored * affine.factor + affine.offset
    rows = {row for bar in bars_of(store)[store.fold("fold0").train] for row in range(max(0, bar - 4), bar + 1)}
    raw = np.array([feature(row, 0) for row in rows])
    full = ~np.isnan(values[..., 0]).any(axis=1)
    bars = bars_of(store)[store.fold("fold0").train][full]
    wanted = (np.array([feature(bar, 0) for bar in bars]) - raw.mean()) / raw.std()
    np.testing.assert_allclose(values[full][:, -1, 0], wanted, atol=1e-6)
    assert store.affine("image", "fold0").identity
    assert store.affine("image", "fold0").factor.shape == (3,)


def test_a_fresh_store_is_found_without_a_look_into_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = charts(tmp_path)
    first = build(tmp_path, config)
    pointer = tmp_path / "store" / image_pointer(config)
    assert image_store_version(pointer) == first.spec.version == first.folder.name
    with pytest.raises(InputError, match=r"no store of these images and settings yet; run jobs/store.py first"):
        image_store_version(pointer.with_name("other.json"))
    monkeypatch.setattr(stage, "decode_all", None)
    monkeypatch.setattr("pipeline.store.images.checksums._checksum", None)
    assert build(tmp_path, config).folder == first.folder


def test_a_changed_image_label_or_number_makes_another_store(tmp_path: Path) -> None:
    config = charts(tmp_path)
    folders = [build(tmp_path, config).folder]
    save(tmp_path / "eur_15m_winsize4/train/Up" / name_of(0, 0), pixels(999))
    folders.append(build(tmp_path, config).folder)
    (tmp_path / "rates.csv").write_text((tmp_path / "rates.csv").read_text().replace("70.0", "71.0"))
    folders.append(build(tmp_path, config).folder)
    folders.append(build(tmp_path, charts(tmp_path, split={"embargo": 0})).folder)
    save(tmp_path / "eur_15m_winsize4/train/Up" / name_of(0, 0), pixels(0))
    write_series(tmp_path / "rates.csv", range(110))
    assert len(set(folders)) == 4
    assert build(tmp_path, config).folder == folders[0]


def test_files_are_known_by_their_contents_not_by_their_place(tmp_path: Path) -> None:
    first = build(tmp_path, charts(tmp_path))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("eur_15m_winsize4", "rates.csv"):
        (tmp_path / name).rename(moved / name)
    images = {"datasets": ["elsewhere/eur_15m_winsize4"], "workers": 1}
    config = settings(images, series={"files": ["elsewhere/rates.csv"], "window_size": 5})
    assert build(tmp_path, config).folder == first.folder


def test_the_number_of_workers_does_not_change_a_byte(tmp_path: Path) -> None:
    config = charts(tmp_path)
    sums = []
    for workers in (1, 3):
        images = config.images.model_copy(update={"workers": workers})  # type: ignore[union-attr]
        store = build(tmp_path, config.model_copy(update={"images": images}))
        sums.append({path.name: sha256(path) for path in store.folder.iterdir()})
        store.folder.rename(tmp_path / f"aside{workers}")
    assert sums[0] == sums[1]


# --- files that cannot be read ---------------------------------------------------------------------------------------


def break_some(home: Path) -> list[str]:
    folder = home / "eur_15m_winsize4" / "train" / "Up"
    (folder / name_of(3, 0)).write_bytes(b"")
    (folder / name_of(9, 0)).write_bytes((folder / name_of(9, 0)).read_bytes()[:200])
    return [f"eur_15m_winsize4/train/Up/{name_of(bar, 0)}" for bar in (3, 9)]


def test_broken_files_are_named_one_line_each(tmp_path: Path) -> None:
    config = charts(tmp_path)
    names = break_some(tmp_path)
    with pytest.raises(InputError) as caught:
        build(tmp_path, config)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert f"{names[0]}: the file is empty; mend or remove it, or set store.images.skip_broken" in lines[0]
    assert f"{names[1]}: damaged" in lines[1]
    assert not [path for path in (tmp_path / "store").iterdir() if path.is_dir()]


def test_a_share_of_broken_files_is_left_out_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = charts(tmp_path)
    whole = build(tmp_path, config)
    names = break_some(tmp_path)
    images = config.images.model_copy(update={"skip_broken": 0.03})  # type: ignore[union-attr]
    lenient = config.model_copy(update={"images": images})
    with caplog.at_level(logging.WARNING, "isobar"):
        store = build(tmp_path, lenient)
    assert "2 files cannot be read and are left out" in caplog.text
    assert store.spec.samples == 78
    skipped = store.spec.preflight["skipped"]
    assert list(skipped) == names
    assert skipped[names[0]] == "the file is empty"
    assert skipped[names[1]].startswith("damaged")
    kept = ~np.isin(whole.column("id"), names)
    assert store.column("id").tolist() == whole.column("id")[kept].tolist()
    every = np.arange(80)[kept]
    assert np.array_equal(store.rows("image").read(np.arange(78)), whole.rows("image").read(every))
    assert np.array_equal(np.load(store.folder / "image.npy"), whole.rows("image").read(every))
    check_files(store.folder, store.spec.files, contents=True)
    strict = config.images.model_copy(update={"skip_broken": 0.02})  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"skip_broken 0.02: 2 of the first 80 images cannot be read, 1 may be"):
        build(tmp_path, config.model_copy(update={"images": strict}))


def test_images_of_different_sizes_need_a_stored_size(tmp_path: Path) -> None:
    config = charts(tmp_path)
    save(tmp_path / "eur_15m_winsize4/train/Up" / name_of(3, 0), pixels(3, 16, 25))
    with pytest.raises(InputError, match=r"label_0.png: 16 × 25 pixels .*others have 16 × 24; set store.images.size"):
        build(tmp_path, config)
    images = config.images.model_copy(update={"size": (8, 12)})  # type: ignore[union-attr]
    store = build(tmp_path, config.model_copy(update={"images": images}))
    with Image.open(tmp_path / store.column("id")[0]) as image:
        wanted = np.asarray(image.resize((12, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(store.rows("image").read(np.array([0]))[0], wanted)


def test_a_file_that_changes_while_the_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = charts(tmp_path)
    sums = stage.checksums

    def changed_later(*arguments: object) -> object:
        found = sums(*arguments)  # type: ignore[arg-type]
        save(tmp_path / "eur_15m_winsize4/train/Up" / name_of(0, 0), pixels(999))
        return found

    monkeypatch.setattr(stage, "checksums", changed_later)
    with pytest.raises(InputError, match=r"label_0.png: changed while the store was made; run the job again"):
        build(tmp_path, config)


def test_too_little_space_is_found_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = charts(tmp_path)
    usage = stage.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(EnvironmentFault, match=r"needs 0\.02 GB, 0\.00 GB are free; .*store.images.size"):
        build(tmp_path, config)


def test_memory_holds_a_few_blocks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a plan cover all images once, in order, within the budget."""
    config = charts(tmp_path)
    monkeypatch.setattr(decoding, "BLOCK_BYTES", 8 * 3 * 16 * 24)
    seen: list[int] = []
    original = decoding._decoded

    def watched(plan: decoding.Plan, blocks: list[range]) -> object:
        seen.extend(len(block) for block in blocks)
        return original(plan, blocks)

    monkeypatch.setattr(decoding, "_decoded", watched)
    small = build(tmp_path, config)
    assert seen == [8] * 10
    monkeypatch.undo()
    sums = sha256(small.folder / "image.npy")
    small.folder.rename(tmp_path / "aside")
    assert sha256(build(tmp_path, config).folder / "image.npy") == sums


# --- other sources ---------------------------------------------------------------------------------------------------


def test_plain_class_folders_without_times(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("val", 4)):
        for number in range(count):
            save(tmp_path / split / "ab"[number % 2] / f"{number}.jpg", pixels(number), quality=90)
    store = build(tmp_path, settings({"train": "train", "val": "val"}))
    assert store.column("id").tolist() == sorted(store.column("id").tolist())
    assert set(store.column("time")) == {""}
    assert set(store.column("date")) == {""}
    fold = store.fold()
    assert [len(fold.train), len(fold.val), len(fold.test)] == [8, 4, 0]
    assert "without times nobody can tell" in table(store.spec.preflight)
    with pytest.raises(InputError, match=r"store.series: images have no times"):
        build(tmp_path, settings({"train": "train", "val": "val"}, series={"files": ["a.csv"]}))
    with pytest.raises(InputError, match=r"one class only"):
        build(tmp_path, one_class(tmp_path))


def one_class(home: Path) -> StoreConfig:
    save(home / "single" / "a" / "1.png", pixels(1))
    return settings({"train": "single"}, split={"by": "random"})


def test_a_list_of_images_with_several_labels(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / f"{number}.png", pixels(number))
    rows = [
        f"{number}.png,{'sea|sun' if number % 2 else 'sea'},{'val' if number > 3 else 'train'}" for number in range(6)
    ]
    (tmp_path / "list.csv").write_text("\n".join(["file,label,split", *rows]))
    store = build(tmp_path, settings({"table": "list.csv"}, target={"kind": "multi_label"}))
    assert store.spec.target.kind == "multi_label"
    assert store.spec.target.classes == ("sea", "sun")
    assert store.target.tolist() == [[1, 0], [1, 1]] * 3
    assert store.column("kind").tolist() == ["single", "composite"] * 3
    whole = build(tmp_path, settings({"table": "list.csv"}))
    assert whole.spec.target.classes == ("sea", "sea|sun"), "a single label is taken as it is written"


def test_several_data_sets_each_with_its_own_series(tmp_path: Path) -> None:
    roots = [write_charts(tmp_path), write_charts(tmp_path, dataset="usd")]
    write_series(tmp_path / "eur_15m.csv", range(110))
    write_series(tmp_path / "usd_15m.csv", range(50, 110))
    series = {"files": ["*_15m.csv"], "window_size": 5}
    store = build(tmp_path, settings({"datasets": roots}, series=series))
    steps = (~np.isnan(store.rows("series").read(np.arange(160))[..., 0])).sum(axis=1)
    bars, group = bars_of(store), store.column("group")
    assert (steps[group == "eur"] == np.minimum(bars[group == "eur"] + 1, 5)).all()
    assert (steps[group == "usd"] == np.clip(bars[group == "usd"] - 49, 0, 5)).all()
    assert "images without a single row of the series: train 50" in "\n".join(store.spec.preflight["warnings"])
    assert store.spec.preflight["series"]["windows_empty"] == 50


def test_copies_of_training_images_in_other_splits_are_counted(tmp_path: Path) -> None:
    config = charts(tmp_path)
    for bar, copied in ((90, 0), (93, 3), (70, 1)):
        split = "val" if bar < 90 else "test"
        save(tmp_path / "eur_15m_winsize4" / split / CLASSES[bar % 3] / name_of(bar, bar % 3), pixels(copied))
    facts = build(tmp_path, config).spec.preflight
    assert facts["folds"]["default"]["copies"] == 3
    assert "3 images of val and test are copies of training images" in "\n".join(facts["warnings"])


def test_without_an_embargo_the_preflight_tells_what_overlaps(tmp_path: Path) -> None:
    config = charts(tmp_path)
    write_charts(tmp_path, {"val": [60, 61]})
    facts = build(tmp_path, config).spec.preflight["folds"]["default"]
    assert (facts["splits"]["gap"]["samples"], facts["overlaps"]) == (4, 0)
    bare = config.split.model_copy(update={"embargo": 0})
    facts = build(tmp_path, config.model_copy(update={"split": bare})).spec.preflight["folds"]["default"]
    assert (facts["splits"]["gap"]["samples"], facts["overlaps"]) == (0, 2)


def test_looking_ahead_is_warned_about(tmp_path: Path) -> None:
    config = charts(tmp_path)
    ahead = config.series.model_copy(update={"offset": 1, "look_ahead": True})  # type: ignore[union-attr]
    store = build(tmp_path, config.model_copy(update={"series": ahead}))
    assert "windows hold rows after the image's time" in store.spec.preflight["warnings"][0]


# --- what leaks ------------------------------------------------------------------------------------------------------


def write_overlapping(home: Path) -> None:
    """Images of 24 bars of a random walk, one a bar; the label is drawn at random for each block of 12 bars."""
    generator = np.random.default_rng(0)
    walk = np.cumsum(generator.standard_normal(1500))
    grey = (255 * (walk - walk.min()) / np.ptp(walk)).astype(np.uint8)
    label = np.repeat(generator.integers(0, 2, 125), 12)
    for bar in range(23, 1500):
        image = np.broadcast_to(grey[bar - 23 : bar + 1][None, :, None], (8, 24, 3))
        path = home / "walk_15m_winsize24/train" / "ab"[label[bar]] / name_of(bar, int(label[bar]), "walk")
        save(path, image, compress_level=0)


def overlapping(home: Path, by: str) -> Store:
    split = {"by": by, "fractions": [0.6, 0.2, 0.2]}
    return build(home, settings({"datasets": ["walk_15m_winsize24"]}, split=split))


def nearest_neighbour_accuracy(store: Store) -> float:
    fold = store.fold()
    train, test = (
        store.rows("image").read(rows).reshape(len(rows), -1).astype(float) for rows in (fold.train, fold.test)
    )
    nearest = np.square(test[:, None] - train[None]).sum(axis=2).argmin(axis=1)
    return float((store.target[fold.train][nearest] == store.target[fold.test]).all(axis=1).mean())


def test_labels_without_signal_stay_at_chance_unless_neighbours_leak(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Chance is 0.5; 295 test images in blocks of 12 are 25 independent draws: 2.5 standard errors are 0.25."""
    write_overlapping(tmp_path)
    purged = overlapping(tmp_path, "blocks")
    with caplog.at_level(logging.WARNING, "isobar"):
        random = overlapping(tmp_path, "random")
    leaking, honest = nearest_neighbour_accuracy(random), nearest_neighbour_accuracy(purged)
    assert leaking > 0.85
    assert abs(honest - 0.5) < 0.25
    assert purged.spec.preflight["folds"]["default"]["overlaps"] == 0
    assert random.spec.preflight["folds"]["default"]["overlaps"] > 100
    assert "share bars with training images" in caplog.text
    assert "split at random" in caplog.text


SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.skipif(not (SHARED / "slpchart_1d.csv").exists(), reason="the real charts are not on this machine")
def test_a_window_of_the_real_series_that_includes_the_day_itself_raises_the_score(tmp_path: Path) -> None:
    """The row of day t decides the label of day t: a window up to t − 1 must not know it, one up to t must."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    def score(offset: int) -> float:
        series = {"files": [str(SHARED / "slpchart_1d.csv")], "window_size": 10, "offset": offset}
        store = build(tmp_path, settings({"datasets": [str(SHARED / "slpchart_1d_winsize10")]}, series=series))
        fold, windows = store.fold(), store.rows("series").read(np.arange(store.spec.samples))
        assert store.spec.preflight["folds"]["default"]["overlaps"] == 0
        flat, kind = windows.reshape(len(windows), -1), store.target.argmax(axis=1)
        model = LogisticRegression(C=0.1, max_iter=200).fit(flat[fold.train], kind[fold.train])
        return float(f1_score(kind[fold.test], model.predict(flat[fold.test]), average="macro"))

    before, leaking = score(-1), score(0)
    assert before < 0.4
    assert leaking > before + 0.2


# --- stopped and killed ----------------------------------------------------------------------------------------------


def test_finished_blocks_are_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = charts(tmp_path)
    monkeypatch.setattr(decoding, "BLOCK_BYTES", 8 * 3 * 16 * 24)
    with pytest.raises(Exception, match=r"48 of 80 images are on disk; run the same command again"):
        build(tmp_path, config, StopAt(7))
    opened: list[str] = []
    read = decoding.read_bytes

    def counted(path: Path) -> bytes:
        opened.append(path.name)
        return read(path)

    monkeypatch.setattr(decoding, "read_bytes", counted)
    build(tmp_path, config)
    assert len(opened) == 32 + 1, "the rest, and the first one for its size"


def test_rows_of_a_store(made: tuple[Path, StoreConfig, Store]) -> None:
    _, _, store = made
    rows = Rows(store.folder / "image.npy")
    order = np.array([5, 79, 0])
    assert np.array_equal(rows.read(order), np.load(store.folder / "image.npy")[order])
    assert os.path.getsize(store.folder / "image.npy") == store.spec.files["image.npy"]["bytes"]
    assert read_json(store.folder / "store.json")["preflight"]["samples"] == 80
