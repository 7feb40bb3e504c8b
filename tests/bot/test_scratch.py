"""Plain files of a job: private, and gone when the job is over."""

import os
import time
from pathlib import Path

import pytest

from bot.errors import BlobMissing
from bot.scratch import Scratch
from bot.store.blobs import FolderBlobs
from bot.workshop import TryAgain


@pytest.fixture
def scratch(tmp_path: Path, blobs: FolderBlobs) -> Scratch:
    return Scratch(tmp_path / "work", blobs)


async def test_files_go_in_and_out_and_nobody_else_may_read_them(
    scratch: Scratch, blobs: FolderBlobs, tmp_path: Path
) -> None:
    blobs.put("a/photo", b"a face")
    folder = scratch.folder("train:1.5")
    path = Path(await scratch.unpack("a/photo", folder / "photos" / "1.jpg"))
    assert path.read_bytes() == b"a face"
    assert folder.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0
    assert await scratch.keep("a/result", path) == "a/result"
    assert blobs.get("a/result") == b"a face"
    assert await scratch.keep("a/none", folder / "none") == ""
    await scratch.remove("train:1.5")
    assert list((tmp_path / "work").iterdir()) == []


async def test_what_was_promised_and_is_not_there_is_made_again(scratch: Scratch, tmp_path: Path) -> None:
    made = tmp_path / "picture.jpg"
    with pytest.raises(TryAgain) as again:
        await scratch.keep_made("a/picture", made)
    assert again.value.failure
    made.write_bytes(b"a headshot")
    assert await scratch.keep_made("a/picture", made) == "a/picture"


async def test_facts_come_back_as_they_were(scratch: Scratch) -> None:
    assert await scratch.keep_facts("a/facts", {"hash": [1, 2]}) == "a/facts"
    assert await scratch.keep_facts("a/none", {}) == ""
    assert await scratch.facts({"p": "a/facts", "q": ""}) == {"p": {"hash": [1, 2]}}
    with pytest.raises(BlobMissing):
        await scratch.facts({"p": "a/gone"})


async def test_only_what_nobody_needs_is_removed(scratch: Scratch, tmp_path: Path) -> None:
    assert await scratch.remove_others([], idle_seconds=0) == 0
    for name in ("train:1", "train:2", "train:3"):
        scratch.folder(name)
    for folder in (tmp_path / "work").iterdir():
        if not folder.name.endswith("3"):
            os.utime(folder, (time.time() - 100, time.time() - 100))
    assert await scratch.remove_others(["train:1"], idle_seconds=50) == 1
    assert sorted(folder.name[-1] for folder in (tmp_path / "work").iterdir()) == ["1", "3"]
