"""A file is whole or absent."""

import os
import threading
from pathlib import Path

import pytest

from engine.durable_files import WriteBehind, write_atomically


def test_writes_into_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b.bin", b"content")
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.bin"]


def test_what_was_there_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "b.bin"
    write_atomically(target, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["b.bin"]


def test_a_write_behind_is_waited_for_and_its_error_is_said_once() -> None:
    writes, go, done = WriteBehind(), threading.Event(), []

    def write() -> None:
        go.wait(10)
        done.append(1)

    writes.begin(write)
    assert (writes.busy, done) == (True, [])
    go.set()
    writes.wait()
    assert (writes.busy, done) == (False, [1])

    def full() -> None:
        raise OSError(28, "No space left on device")

    writes.begin(full)
    with pytest.raises(OSError, match="No space"):
        writes.begin(write)
    writes.wait()
    assert done == [1]
