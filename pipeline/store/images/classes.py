"""Classes of images: folder names against label numbers, their order, and the class sets of the splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipeline.core import logs
from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten


def refuse_mixed_numbers(files: Iterable[tuple[str, int, str]]) -> None:
    """Check that each class folder goes with one label number and each number with one folder.

    Args:
        files: class folder, label number (-1: none) and file of each image.

    Raises:
        InputError: names the first file that disagrees, and one that it disagrees with.
    """
    number_of: dict[str, tuple[int, str]] = {}
    folder_of: dict[int, tuple[str, str]] = {}
    for folder, number, file in files:
        if number < 0:
            continue
        known, first = number_of.setdefault(folder, (number, file))
        if known != number:
            raise InputError(f"{file}: label {number} in class folder {folder!r}, where {first} has label {known}")
        owner, first = folder_of.setdefault(number, (folder, file))
        if owner != folder:
            raise InputError(
                f"{file}: label {number} in class folder {folder!r}, but {first} has it in folder {owner!r}; "
                "a label number belongs to one class"
            )


def ordered_classes(files: Sequence[tuple[str, int]], listed: Sequence[str], known: Iterable[str]) -> list[str]:
    """Return the classes: as listed, else by label number where each class has one, else sorted by name.

    Args:
        files: class and label number (-1: none) of each image.
        listed: ``store.target.classes``.
        known: class folders, those without images too.

    Raises:
        InputError: an image is of a class that is not listed.
    """
    numbers = {label: number for label, number in files if number >= 0}
    found = {label for label, _ in files}
    if listed:
        extra = sorted(found - set(listed))
        if extra:
            hint = near(extra[0], listed)
            raise InputError(
                f"store.target.classes: {shorten(extra)} not listed{hint} Listed: {shorten(listed, 30)}; "
                "add it, or leave the list empty"
            )
        return list(listed)
    classes = sorted(found | set(known))
    if all(label in numbers for label in classes):
        return sorted(classes, key=lambda label: numbers[label])
    return classes


def compare_splits(folders: Mapping[str, set[str]]) -> None:
    """Compare the class folders of validation and test with those of training.

    Raises:
        InputError: a class folder of val or test is not among those of train.
    """
    train = folders.get("train", set())
    for split in ("val", "test"):
        extra = sorted(folders.get(split, train) - train)
        if extra:
            raise InputError(
                f"store.images: class folder {shorten(extra)} is in {split} but not in train"
                f"{near(extra[0], train)} Folders of train: {shorten(sorted(train), 30)}"
            )
        absent = sorted(train - folders.get(split, train))
        if absent:
            logs.log.warning("store.images: no class folder in %s for %s", split, shorten(absent, 20))
