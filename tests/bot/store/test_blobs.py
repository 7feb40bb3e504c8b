"""Blobs are sealed, replaced in one step, and gone when they are deleted."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.config import BotSettings, Settings
from bot.errors import BlobMissing, ConfigError, ServiceUnavailable
from bot.store.blobs import FolderBlobs, installation_secret

KEY = "persons/ab/photos/p1"


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs", b"k" * 32)


def test_what_was_put_comes_back_and_cannot_be_read_from_the_disk(blobs: FolderBlobs, tmp_path: Path) -> None:
    blobs.put(KEY, b"a face")
    assert blobs.get(KEY) == b"a face"
    assert blobs.exists(KEY)
    assert b"a face" not in (tmp_path / "blobs" / KEY).read_bytes()
    blobs.put(KEY, b"")
    assert blobs.get(KEY) == b""


def test_missing_and_deleted(blobs: FolderBlobs) -> None:
    with pytest.raises(BlobMissing):
        blobs.get(KEY)
    blobs.delete(KEY)
    blobs.put(KEY, b"x")
    blobs.delete(KEY)
    assert not blobs.exists(KEY)


def test_a_prefix_takes_everything_of_one_person_and_nothing_of_another(
    blobs: FolderBlobs, tmp_path: Path
) -> None:
    for key in (KEY, "persons/ab/adapters/a.safetensors", "persons/abc/photos/p1"):
        blobs.put(key, b"x")
    blobs.delete_prefix("persons/ab/")
    blobs.delete_prefix("persons/ab/")
    assert list(blobs.keys(time.time() + 10)) == ["persons/abc/photos/p1"]
    assert not (tmp_path / "blobs/persons/ab").exists()


@pytest.mark.parametrize("change", ["flip", "move", "cut"])
def test_a_changed_file_does_not_open(change: str, blobs: FolderBlobs, tmp_path: Path) -> None:
    blobs.put(KEY, b"a face")
    path = tmp_path / "blobs" / KEY
    data = bytearray(path.read_bytes())
    key = KEY
    if change == "flip":
        data[-1] ^= 1
        path.write_bytes(data)
    elif change == "cut":
        path.write_bytes(data[:7])
    else:
        key = "persons/ab/photos/p2"
        path.rename(tmp_path / "blobs" / key)
    with pytest.raises(ServiceUnavailable, match="LIKENESS_KEY"):
        blobs.get(key)


def test_another_key_does_not_open_it(blobs: FolderBlobs, tmp_path: Path) -> None:
    blobs.put(KEY, b"a face")
    with pytest.raises(ServiceUnavailable):
        FolderBlobs(tmp_path / "blobs", b"j" * 32).get(KEY)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../b", "a//b", "a/.b", "a b", "..", "a/b\n"])
def test_a_key_never_leaves_the_folder(key: str, blobs: FolderBlobs) -> None:
    with pytest.raises(ValueError, match="not a blob key"):
        blobs.put(key, b"x")


def test_a_failed_write_leaves_the_old_file_and_no_rest(
    blobs: FolderBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put(KEY, b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="space"):
        blobs.put(KEY, b"new")
    monkeypatch.undo()
    assert blobs.get(KEY) == b"old"
    assert [path.name for path in (tmp_path / "blobs" / KEY).parent.iterdir()] == ["p1"]


def test_putting_and_deleting_side_by_side(blobs: FolderBlobs) -> None:
    """Deleting the last file of a folder removes the folder: a put at that moment must make it again."""
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(
            lambda number: (blobs.put(f"a/b/{number}", b"x"), blobs.delete(f"a/b/{number}")), range(300)
        ):
            pass
    assert list(blobs.keys(time.time() + 10)) == []


def settings(folder: Path, key: str = "") -> Settings:
    secrets = {"LIKENESS_KEY": key} if key else {}
    return Settings.model_validate({"bot": BotSettings(data_dir=folder), "secrets": secrets})


def test_the_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: installation_secret(settings(tmp_path / "data")), range(16)))
    assert len(found) == 1
    assert (tmp_path / "data/key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["key"]


def test_the_key_of_the_environment_wins_and_must_be_long(tmp_path: Path) -> None:
    assert installation_secret(settings(tmp_path, "x" * 40)) == b"x" * 40
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="LIKENESS_KEY"):
        installation_secret(settings(tmp_path, "short"))


def test_a_damaged_key_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("")
    with pytest.raises(ConfigError, match="backup"):
        installation_secret(settings(tmp_path))
