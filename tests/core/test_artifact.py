import json
import os
from pathlib import Path

import pytest

from pipeline.core.artifact import (
    Checksums,
    check_files,
    describe_files,
    digest8,
    read_json,
    write_json,
    write_text,
    writing,
)
from pipeline.core.errors import EnvironmentFault, InputError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), writing(path) as part:
        part.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_json_without_nan_and_with_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": float("nan"), "y": (1, 2)})
    assert json.loads(path.read_text()) == {"schema_version": 1, "x": None, "y": [1, 2]}
    assert read_json(path)["y"] == [1, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "not a readable JSON"), ("[1]", "schema version 'list'"), ('{"schema_version": 9}', "schema version 9")],
)
def test_wrong_json(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=expected):
        read_json(path)


def test_full_disk_is_the_machines_fault() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with pytest.raises(OSError, match="No space left") as error, open("/dev/full", "w") as stream:
        stream.write("x")
    from pipeline.core.errors import disk_fault

    fault = disk_fault(error.value, "results/x.json")
    assert isinstance(fault, EnvironmentFault)
    assert "results/x.json: cannot write, the disk is full" in str(fault)


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file where a folder is needed")
    with pytest.raises(EnvironmentFault, match="cannot make this folder"):
        write_text(tmp_path / "a" / "b.txt", "x")


def test_manifest_finds_missing_and_changed_files(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "hello")
    files = describe_files(tmp_path, ["a"])
    check_files(tmp_path, files, contents=True)
    write_text(tmp_path / "a", "jello")
    check_files(tmp_path, files)
    with pytest.raises(InputError, match="checksum differs"):
        check_files(tmp_path, files, contents=True)
    (tmp_path / "a").unlink()
    with pytest.raises(InputError, match="missing"):
        check_files(tmp_path, files)


def test_checksums_are_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "big", tmp_path / "cache.json"
    path.write_bytes(b"1" * 100)
    first = Checksums(cache).of(path)
    assert Checksums(cache).of(path) == first
    path.write_bytes(b"2" * 100)
    os.utime(path, ns=(1, 1))
    assert Checksums(cache).of(path) != first
    cache.write_text("broken")
    assert Checksums(cache).of(path) != first


def test_digest_ignores_the_order_of_keys_only() -> None:
    assert digest8({"a": 1, "b": [1, 2]}) == digest8({"b": [1, 2], "a": 1})
    assert digest8({"a": [2, 1]}) != digest8({"a": [1, 2]})
