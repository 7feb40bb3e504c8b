"""Both marks on a picture, read again; and what is left of them after a picture was changed."""

import io
import json
from pathlib import Path

import c2pa
import numpy as np
import pytest
from PIL import Image

from engine.marking import MADE_BY_A_MODEL, Marker, Marks, read_marks
from engine.pictures import write_picture

PORTRAIT = Path(__file__).parent.parent / "data" / "other_2.jpg"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    with Image.open(PORTRAIT) as image:
        return np.asarray(image.convert("RGB").resize((384, 384)))


@pytest.fixture(scope="module")
def marked(keys: Path, pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("marked") / "0.jpg"
    Marker(keys).finish(path, pixels)
    return path


def test_a_marked_picture_says_what_it_is(marked: Path, keys: Path, pixels: np.ndarray) -> None:
    marks = read_marks(marked, keys)
    assert marks == Marks(watermarked=True, signed=True, trusted=True, generated=True, software="Likeness")
    with Image.open(marked) as image:
        assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 3


def test_any_reader_of_content_credentials_understands_it(marked: Path) -> None:
    with c2pa.Reader("image/jpeg", io.BytesIO(marked.read_bytes())) as reader:
        assert reader.get_validation_state() == "Valid"
        manifest = reader.get_active_manifest()
    actions = next(
        a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions")
    )
    assert [(a["action"], a["digitalSourceType"]) for a in actions] == [("c2pa.created", MADE_BY_A_MODEL)]
    assert "thumbnail" not in json.dumps(manifest)


def test_another_installation_finds_it_unchanged_but_does_not_vouch_for_it(
    marked: Path, tmp_path: Path
) -> None:
    marks = read_marks(marked, tmp_path)
    assert (marks.signed, marks.trusted, marks.generated) == (True, False, True)


def test_a_changed_picture_is_no_longer_signed(marked: Path, keys: Path, tmp_path: Path) -> None:
    content = bytearray(marked.read_bytes())
    content[-3000] ^= 1
    (tmp_path / "0.jpg").write_bytes(content)
    marks = read_marks(tmp_path / "0.jpg", keys)
    assert (marks.signed, marks.trusted) == (False, False)


def test_the_watermark_is_left_where_a_chat_stripped_the_manifest(
    marked: Path, keys: Path, tmp_path: Path
) -> None:
    with Image.open(marked) as image:
        image.save(tmp_path / "0.jpg", quality=80)
    assert read_marks(tmp_path / "0.jpg", keys) == Marks(watermarked=True)


def test_a_plain_picture_has_no_marks(keys: Path, pixels: np.ndarray, tmp_path: Path) -> None:
    write_picture(tmp_path / "0.jpg", pixels)
    assert read_marks(tmp_path / "0.jpg", keys) == Marks()


def test_what_is_no_picture_is_an_error(keys: Path, tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(OSError, match="cannot identify"):
        read_marks(tmp_path / "0.jpg", keys)
