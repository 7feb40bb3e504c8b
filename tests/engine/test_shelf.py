"""Adapters at hand: bounded in bytes, known by what is in them, and never another's."""

import shutil
from pathlib import Path

import pytest
import torch

from engine import shelf as module
from engine.errors import AdapterCorrupt
from engine.lora import save_adapter
from engine.shelf import AdapterShelf, num_bytes
from tests.engine.test_lora import adapter, rewritten

CPU = torch.device("cpu")


@pytest.fixture
def shelf(base, slot) -> AdapterShelf:
    return AdapterShelf(slot, base.folder.revision, CPU)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose weights were read."""
    seen: list[Path] = []
    original = module.load_adapter

    def load(path: Path, *rest: object):
        seen.append(path)
        return original(path, *rest)

    monkeypatch.setattr(module, "load_adapter", load)
    return seen


def test_reads_a_file_again_when_it_was_replaced(base, slot, shelf: AdapterShelf, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_adapter(path, adapter(base, slot, 8))
    first = shelf.get("adapter-ada", path)
    assert shelf.get("adapter-ada", path) is first
    save_adapter(path, adapter(base, slot, 9))
    name = slot.names[0]
    assert not torch.equal(shelf.get("adapter-ada", path).tensors[name], first.tensors[name])


def test_a_copy_of_the_file_is_not_read_again(
    base, slot, shelf: AdapterShelf, reads: list[Path], tmp_path: Path
) -> None:
    """Each shoot gets a copy in a folder of its own."""
    save_adapter(tmp_path / "a", adapter(base, slot, 8))
    first = shelf.get("adapter-ada", tmp_path / "a")
    shutil.copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").unlink()
    assert shelf.get("adapter-ada", tmp_path / "b") is first
    assert len(reads) == 1


def test_a_file_without_a_digest_is_known_by_its_place(
    base, slot, shelf: AdapterShelf, reads: list[Path], tmp_path: Path
) -> None:
    save_adapter(tmp_path / "a", adapter(base, slot, 8))
    rewritten(tmp_path / "a")
    shutil.copy(tmp_path / "a", tmp_path / "b")
    for name in ("a", "b", "a"):
        shelf.get("adapter-ada", tmp_path / name)
    assert [path.name for path in reads] == ["a", "b"]


def test_refuses_another_adapter_under_the_right_name(
    base, slot, shelf: AdapterShelf, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_adapter(path, adapter(base, slot, 8, person="ben"))
    with pytest.raises(AdapterCorrupt, match="adapter-ben"):
        shelf.get("adapter-ada", path)


def test_forgets(base, slot, shelf: AdapterShelf, tmp_path: Path) -> None:
    save_adapter(tmp_path / "cem", adapter(base, slot, 8, person="cem"))
    kept = shelf.get("adapter-cem", tmp_path / "cem")
    shelf.forget("adapter-cem")
    assert shelf.get("adapter-cem", tmp_path / "cem") is not kept
    shelf.forget("adapter-cem")
    (tmp_path / "cem").unlink()
    with pytest.raises(AdapterCorrupt):
        shelf.get("adapter-cem", tmp_path / "cem")


def test_is_bounded_in_bytes(base, slot, reads: list[Path], tmp_path: Path) -> None:
    size = num_bytes(adapter(base, slot, 8))
    shelf = AdapterShelf(slot, base.folder.revision, CPU, device_bytes=2 * size)
    for person in ("ada", "ben", "cem"):
        save_adapter(tmp_path / person, adapter(base, slot, 8, person=person))
        shelf.get(f"adapter-{person}", tmp_path / person)
    for person in ("cem", "ben", "ada"):
        shelf.get(f"adapter-{person}", tmp_path / person)
    assert [path.name for path in reads] == ["ada", "ben", "cem", "ada"]
    tight = AdapterShelf(slot, base.folder.revision, CPU, device_bytes=1)
    assert tight.get("adapter-ada", tmp_path / "ada") is tight.get("adapter-ada", tmp_path / "ada")


def test_what_leaves_the_device_comes_back_from_the_host(
    base, slot, reads: list[Path], tmp_path: Path
) -> None:
    """On a CPU the two shelves lie in the same memory; that they are two is what counts here."""
    size = num_bytes(adapter(base, slot, 8))
    shelf = AdapterShelf(slot, base.folder.revision, CPU, device_bytes=size)
    shelf._host_bytes = 2 * size
    people, first = ("ada", "ben", "cem", "dia"), {}
    for person in people:
        save_adapter(tmp_path / person, adapter(base, slot, 8, person=person))
        first[person] = shelf.get(f"adapter-{person}", tmp_path / person)
    for person in ("ben", "cem", "dia"):
        again = shelf.get(f"adapter-{person}", tmp_path / person)
        assert again.info == first[person].info
        assert all(torch.equal(again.tensors[name], first[person].tensors[name]) for name in slot.names)
    assert len(reads) == 4, "nobody's weights were read twice"
    shelf.get("adapter-ada", tmp_path / "ada")
    assert len(reads) == 5, "the one that was used longest ago had left"
    shelf.forget("adapter-cem")
    shelf.get("adapter-cem", tmp_path / "cem")
    assert len(reads) == 6, "who is forgotten is forgotten on both"


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose weights were copied to the host's memory."""
    seen: list[str] = []
    original = module.packed

    def pack(one, slot):
        seen.append(one.info.person_id)
        return original(one, slot)

    monkeypatch.setattr(module, "packed", pack)
    return seen


def test_who_leaves_the_device_is_copied_once(base, slot, copies: list[str], tmp_path: Path) -> None:
    shelf = AdapterShelf(slot, base.folder.revision, CPU, device_bytes=1)
    shelf._host_bytes = 1 << 30
    for turn in range(9):
        person = ("ada", "ben", "cem")[turn % 3]
        save_adapter(tmp_path / person, adapter(base, slot, 8, person=person))
        assert shelf.get(f"adapter-{person}", tmp_path / person).info.person_id == person
    assert copies == ["ada", "ben", "cem"]


def test_a_copy_of_who_is_back_on_the_device_is_the_first_to_go(
    base, slot, copies: list[str], reads: list[Path], tmp_path: Path
) -> None:
    shelf = AdapterShelf(slot, base.folder.revision, CPU, device_bytes=1)
    shelf._host_bytes = 2 * num_bytes(adapter(base, slot, 8))
    for person in ("ada", "ben", "cem", "ben", "ada", "cem"):
        save_adapter(tmp_path / person, adapter(base, slot, 8, person=person))
        shelf.get(f"adapter-{person}", tmp_path / person)
    assert len(reads) == 3, "nobody was lost for the sake of a second copy"
    assert copies == ["ada", "ben", "cem", "ben", "ada"]
