"""Which images there are: from folders after the guide's convention, from plain class folders, or from a CSV list."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.contract.store import SPLITS
from pipeline.core import logs
from pipeline.core.errors import InputError, shorten
from pipeline.core.times import to_utc, zone
from pipeline.store.images.classes import refuse_mixed_numbers
from pipeline.store.images.names import EXPECTED, Name, bars_of, parse_name
from pipeline.store.images.pictures import SUFFIXES, Listing, Picture
from pipeline.store.images.table import read_table
from pipeline.store.sections.images import ImagesConfig

_NOISE = ("thumbs.db", "desktop.ini", "__macosx")


@dataclass(frozen=True)
class _Root:
    above: Path
    folder: Path
    split: str


def list_images(config: ImagesConfig, home: Path) -> Listing:
    """List the images that the settings name; relative paths start from ``home``.

    Raises:
        InputError: a folder or a name is not as it must be; a class folder and the numbers in its names disagree.
    """
    if config.table:
        rows = read_table(config, home)
        return _ordered(rows if rows[0].time else _named(rows, config), {}, config.bars or _bars(config))
    roots = _dataset_roots(config, home) if config.datasets else _plain_roots(config, home)
    base = Path(os.path.commonpath([root.above for root in roots]))
    found, folders = [], dict[str, set[str]]()
    for root in roots:
        pictures, classes = _in_root(root, base)
        found += pictures
        folders.setdefault(root.split, set()).update(classes)
    if not found:
        raise InputError(f"store.images: no image below {shorten(root.folder for root in roots)}; {_formats()}")
    pictures = _named(found, config)
    refuse_mixed_numbers([(picture.label, picture.number, picture.id) for picture in pictures])
    return _ordered(pictures, folders, config.bars or _bars(config))


def _formats() -> str:
    return f"image files end in {', '.join(SUFFIXES)}"


def _dataset_roots(config: ImagesConfig, home: Path) -> list[_Root]:
    roots = []
    for text in config.datasets:
        folder = _folder(home / text, "store.images.datasets")
        inside = {path.name for path in folder.iterdir() if path.is_dir() and not _hidden(path.name)}
        if "train" not in inside:
            raise InputError(
                f"{folder}: no folder train in it (found {shorten(sorted(inside)) or 'none'}); expected train, val "
                "and test with class folders in each; for plain class folders set store.images.train"
            )
        other = sorted(inside - set(SPLITS))
        if other:
            logs.log.warning("%s: only train, val and test are read; left out: %s", folder, shorten(other))
        roots += [_Root(folder.parent, folder / split, split) for split in SPLITS if split in inside]
    return roots


def _plain_roots(config: ImagesConfig, home: Path) -> list[_Root]:
    given = [(split, getattr(config, split)) for split in SPLITS]
    found = [(split, _folder(home / text, f"store.images.{split}")) for split, text in given if text]
    return [_Root(folder.parent, folder, split) for split, folder in found]


def _folder(path: Path, setting: str) -> Path:
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        raise InputError(f"{setting}: {path}: {'not a folder' if path.exists() else 'no such folder'}")
    return path


def _in_root(root: _Root, base: Path) -> tuple[list[Picture], list[str]]:
    """Return the images of one split of one data set and the names of its class folders."""
    entries = sorted(path for path in root.folder.iterdir() if not _hidden(path.name))
    loose = [path for path in entries if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    if loose:
        raise InputError(f"{loose[0]}: an image outside a class folder; expected {root.folder.name}/<class>/<file>")
    classes = [path for path in entries if path.is_dir()]
    if not classes:
        raise InputError(f"{root.folder}: no class folder in it; expected {root.folder.name}/<class>/<file>")
    pictures, other = list[Picture](), list[Path]()
    for folder in classes:
        here = list[Path]()
        for path in _files(folder):
            (here if path.suffix.lower() in SUFFIXES else other).append(path)
        if not here:
            logs.log.warning("%s: no image in this class folder", folder)
        pictures += [Picture(path, path.relative_to(base).as_posix(), folder.name, root.split) for path in here]
    if other:
        names = shorten((path.relative_to(root.folder) for path in other), 3)
        logs.log.warning("%s: %d files are no images and are left out: %s", root.folder, len(other), names)
    return pictures, [folder.name for folder in classes]


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files below ``folder``, nested ones too, hidden ones not."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in sorted(names):
            if not name.isprintable():
                raise InputError(f"{place}: file name {name!r} cannot be printed; rename it")
            if not _hidden(name):
                yield Path(place, name)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NOISE


def _named(pictures: list[Picture], config: ImagesConfig) -> list[Picture]:
    """Add what the file names say, if they are to follow the convention (``names: auto``: if all of them do)."""
    if config.names == "any":
        return pictures
    parsed = [parse_name(picture.path.stem) for picture in pictures]
    wrong = [picture.id for picture, name in zip(pictures, parsed, strict=True) if name is None]
    if wrong and (config.names == "convention" or config.datasets):
        raise InputError(
            f"{wrong[0]}: the name does not follow the convention, nor do those of {len(wrong) - 1} other files; "
            f"expected {EXPECTED}; set store.images.names: any if names and times mean nothing"
        )
    if wrong:
        partly = len(wrong) < len(pictures)
        logs.log.log(
            30 if partly else 20, "%d of %d names do not follow the convention (%s): images have no times",
            len(wrong), len(pictures), shorten(wrong, 3),
        )  # fmt: skip
        return pictures
    names = [name for name in parsed if name is not None]
    place, call = zone(config.timezone, "store.images.timezone"), _group_names(names)
    return [_with(picture, name, place, call) for picture, name in zip(pictures, names, strict=True)]


def _group_names(names: Sequence[Name]) -> Callable[[Name], str]:
    """Return what to call the group of a name: its data set, with the timeframe where a data set has several."""
    frames: dict[str, set[str]] = {}
    for name in names:
        frames.setdefault(name.dataset, set()).add(name.timeframe)
    return lambda name: name.dataset if len(frames[name.dataset]) == 1 else f"{name.dataset}_{name.timeframe}"


def _with(picture: Picture, name: Name, place: ZoneInfo, call: Callable[[Name], str]) -> Picture:
    return replace(
        picture,
        group=picture.group or call(name),
        time=to_utc(name.time, place),
        local=name.time,
        number=name.label,
        timeframe=name.timeframe,
    )


def _bars(config: ImagesConfig) -> int:
    folders = config.datasets or [text for text in (config.train, config.val, config.test, config.table) if text]
    found = [bars_of(part) for text in folders for part in Path(text).parts]
    return max((bars for bars in found if bars is not None), default=1)


def _ordered(pictures: list[Picture], folders: dict[str, set[str]], bars: int) -> Listing:
    first = datetime.min
    return Listing(sorted(pictures, key=lambda one: (one.time or first, one.id)), folders, bars)
