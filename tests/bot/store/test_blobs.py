"""Blobs are sealed, replaced in one step, and gone when they are deleted, in a folder and in a bucket."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.config import Settings
from bot.errors import BlobMissing, ConfigError, ServiceUnavailable
from bot.store.blobs import BlobStore, installation_secret, open_blobs
from bot.store.s3 import S3Blobs
from tests.bot.store.blob_places import Bucket, Folder

KEY = "persons/ab/photos/p1"


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Folder | Bucket:
    if request.param == "folder":
        return Folder(tmp_path / "blobs")
    made: Bucket = request.getfixturevalue("bucket")
    return made


@pytest.fixture
def blobs(place: Folder | Bucket) -> BlobStore:
    return place.blobs


def test_what_was_put_comes_back_and_cannot_be_read_from_behind(place: Folder | Bucket) -> None:
    place.blobs.put(KEY, b"a face")
    assert place.blobs.get(KEY) == b"a face"
    assert place.blobs.exists(KEY)
    assert b"a face" not in place.read(KEY)
    place.blobs.put(KEY, b"")
    assert place.blobs.get(KEY) == b""


def test_missing_and_deleted(blobs: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        blobs.get(KEY)
    assert not blobs.exists(KEY)
    blobs.delete(KEY)
    blobs.put(KEY, b"x")
    blobs.delete(KEY)
    assert not blobs.exists(KEY)


def test_a_prefix_takes_everything_of_one_person_and_nothing_of_another(blobs: BlobStore) -> None:
    for key in (KEY, "persons/ab/adapters/a.safetensors", "persons/abc/photos/p1"):
        blobs.put(key, b"x")
    blobs.delete_prefix("persons/ab/")
    blobs.delete_prefix("persons/ab/")
    assert list(blobs.keys(time.time() + 10)) == ["persons/abc/photos/p1"]


def test_no_folder_is_left_of_a_person(tmp_path: Path) -> None:
    blobs = Folder(tmp_path / "blobs").blobs
    blobs.put(KEY, b"x")
    blobs.delete_prefix("persons/ab/")
    assert list((tmp_path / "blobs").iterdir()) == []


def test_only_what_is_old_enough_is_listed(blobs: BlobStore) -> None:
    blobs.put(KEY, b"x")
    assert list(blobs.keys(time.time() - 10)) == []
    assert list(blobs.keys(time.time() + 10)) == [KEY]


@pytest.mark.parametrize("change", ["flip", "move", "cut"])
def test_a_changed_file_does_not_open(change: str, place: Folder | Bucket) -> None:
    place.blobs.put(KEY, b"a face")
    data = bytearray(place.read(KEY))
    key = KEY
    if change == "flip":
        data[-1] ^= 1
    elif change == "cut":
        data = data[:7]
    else:
        key = "persons/ab/photos/p2"
    place.write(key, bytes(data))
    with pytest.raises(ServiceUnavailable, match="LIKENESS_KEY"):
        place.blobs.get(key)


def test_another_secret_does_not_open_it(place: Folder | Bucket) -> None:
    place.blobs.put(KEY, b"a face")
    with pytest.raises(ServiceUnavailable):
        place.opened(b"j" * 32).get(KEY)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../b", "a//b", "a/.b", "a b", "..", "a/b\n"])
def test_a_key_never_leads_elsewhere(key: str, blobs: BlobStore) -> None:
    with pytest.raises(ValueError, match="not a blob key"):
        blobs.put(key, b"x")


def test_a_failed_write_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Folder(tmp_path / "blobs").blobs
    blobs.put(KEY, b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="space"):
        blobs.put(KEY, b"new")
    monkeypatch.undo()
    assert blobs.get(KEY) == b"old"
    assert [path.name for path in (tmp_path / "blobs" / KEY).parent.iterdir()] == ["p1"]


def test_putting_and_deleting_side_by_side(blobs: BlobStore) -> None:
    """Deleting the last file of a folder removes the folder: a put at that moment must make it again."""
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(
            lambda number: (blobs.put(f"a/b/{number}", b"x"), blobs.delete(f"a/b/{number}")), range(100)
        ):
            pass
    assert list(blobs.keys(time.time() + 10)) == []


def settings(folder: Path, key: str = "") -> Settings:
    secrets = {"LIKENESS_KEY": key} if key else {}
    return Settings.model_validate({"bot": {"data_dir": folder}, "secrets": secrets})


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


def test_a_bucket_is_tried_before_it_is_used_and_keeps_nothing_of_that(bucket: Bucket) -> None:
    opened = open_blobs(bucket.settings)
    assert isinstance(opened, S3Blobs)
    assert list(opened.keys(time.time() + 10)) == []


def test_each_host_needs_the_same_key(bucket: Bucket) -> None:
    with pytest.raises(ConfigError, match="on every host"):
        open_blobs(bucket.settings.model_copy(update={"secrets": {}}))


def test_where_no_bucket_is_named_files_lie_in_the_data_folder(tmp_path: Path) -> None:
    open_blobs(settings(tmp_path)).put(KEY, b"x")
    assert (tmp_path / "blobs" / KEY).is_file()
