"""What comes out of bytes that strangers sent: a clean upright photo, or the reason why not."""

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.photo_facts import Problem
from engine.photo_files import PhotoLimits, PhotoRefused, decode_photo, load_photo, save_clean
from tests import images

LIMITS = PhotoLimits()


def problem_of(content: bytes, limits: PhotoLimits = LIMITS) -> Problem:
    with pytest.raises(PhotoRefused) as refusal:
        decode_photo(content, limits)
    return refusal.value.problem


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a.convert("RGB"), float) - np.asarray(b.convert("RGB"), float)).mean())


# ---------------------------------------------------------------- what can be read


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_reads_each_format_by_its_bytes(kind):
    sent = images.selfie()
    seen = decode_photo(images.as_bytes(sent, kind), LIMITS)
    assert (seen.mode, seen.size) == ("RGB", sent.size)
    assert difference(seen, sent) < 4


def test_reads_heic_and_turns_it_once():
    seen = decode_photo(images.HEIC.read_bytes(), LIMITS)
    assert seen.size == (640, 640)
    assert difference(seen, images.selfie(2).resize((640, 640))) < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_applies_the_orientation(kind, orientation):
    plain = images.selfie().resize((480, 360))
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = plain if back is None else plain.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = orientation
    seen = decode_photo(images.as_bytes(stored, kind, exif=exif.tobytes()), LIMITS)
    assert seen.size == plain.size
    assert difference(seen, plain) < 6


def test_no_metadata_survives(tmp_path):
    sent = images.phone_photo()
    assert b"Phonemaker" in sent
    save_clean(decode_photo(sent, LIMITS), tmp_path / "new" / "clean.jpg")
    clean = (tmp_path / "new" / "clean.jpg").read_bytes()
    assert b"Phonemaker" not in clean
    assert b"Exif" not in clean
    reread = Image.open(io.BytesIO(clean))
    assert not reread.getexif()
    assert not {"icc_profile", "exif", "comment", "xmp"} & set(reread.info)
    assert difference(reread, images.selfie(2)) < 4
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["clean.jpg"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_converts_the_colour_profile(kind):
    red = Image.new("RGB", (400, 400), (250, 20, 20))
    seen = decode_photo(images.as_bytes(red, kind, icc_profile=images.strange_profile()), LIMITS)
    r, _, b = (int(value) for value in np.asarray(seen).mean(axis=(0, 1)))
    assert b > 200 > 100 > r


def test_a_damaged_colour_profile_is_left_out():
    sent = images.selfie()
    seen = decode_photo(images.as_bytes(sent, icc_profile=images.strange_profile()[:200]), LIMITS)
    assert difference(seen, sent) < 4


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "1", "LA", "RGBA", "I;16"])
def test_other_kinds_of_pixels_become_rgb(mode):
    sent = images.selfie()
    if mode == "I;16":
        stored = Image.fromarray(np.asarray(sent.convert("L")).astype(np.uint16) * 257)
    else:
        stored = sent.convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    seen = decode_photo(images.as_bytes(stored, kind), LIMITS)
    assert (seen.mode, seen.size) == ("RGB", sent.size)
    gray = sent if mode in ("CMYK", "P", "RGBA") else sent.convert("L")
    assert difference(seen.resize((64, 64)), gray.resize((64, 64))) < 12


def test_what_is_transparent_becomes_white():
    sent = images.selfie().convert("RGBA")
    sent.putalpha(Image.new("L", sent.size, 0))
    assert np.asarray(decode_photo(images.as_bytes(sent, "PNG"), LIMITS)).min() == 255


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_photo_is_kept_at_the_clean_size(kind):
    sent = images.selfie().resize((3024, 4032))
    seen = decode_photo(images.as_bytes(sent, kind), LIMITS)
    assert 1536 <= max(seen.size) <= LIMITS.clean_side_px
    assert seen.width / seen.height == pytest.approx(0.75, abs=0.01)
    assert difference(seen.resize((192, 256)), sent.resize((192, 256))) < 3


def test_a_phone_photo_with_a_second_picture_inside_is_a_photo():
    two = io.BytesIO()
    images.selfie().save(two, "MPO", save_all=True, append_images=[images.selfie(2)])
    assert difference(decode_photo(two.getvalue(), LIMITS), images.selfie()) < 4


def test_damaged_exif_does_not_spoil_a_photo():
    sent = images.phone_photo()
    at = sent.index(b"Exif")
    broken = sent[: at + 10] + b"\xff" * 40 + sent[at + 50 :]
    assert decode_photo(broken, LIMITS).size == (768, 768)


# ---------------------------------------------------------------- what cannot


def test_nothing_at_all():
    assert problem_of(b"") is Problem.EMPTY


@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        b"GIF89a" + bytes(100),
        b"BM" + bytes(100),
        b"II*\x00" + bytes(100),
        b"\x00\x00\x00\x18ftypmp42" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04" + bytes(100),
        b"hello",
        b"\xff",
    ],
)
def test_other_formats(content):
    assert problem_of(content) is Problem.WRONG_FORMAT


def test_a_picture_of_another_format_under_a_good_name(tmp_path):
    path = tmp_path / "selfie.jpg"
    path.write_bytes(images.as_bytes(images.selfie(), "TIFF"))
    with pytest.raises(PhotoRefused) as refusal:
        load_photo(path, LIMITS)
    assert refusal.value.problem is Problem.WRONG_FORMAT


def test_too_large_a_file_is_not_even_read(tmp_path):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(21 * 1024 * 1024)
    with pytest.raises(PhotoRefused) as refusal:
        load_photo(path, LIMITS)
    assert refusal.value.problem is Problem.FILE_TOO_LARGE


@pytest.mark.parametrize("bomb", [images.png_bomb, images.webp_bomb])
def test_a_bomb_is_refused_before_it_goes_off(bomb):
    content = bomb()
    assert len(content) < 100_000
    tracemalloc.start()
    problem = problem_of(content)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem is Problem.TOO_MANY_PIXELS
    assert peak_bytes < 4_000_000


def test_a_jpeg_and_an_avif_with_too_many_pixels():
    limits = PhotoLimits(max_megapixels=1)
    wide = images.selfie().resize((1200, 1000))
    for kind in ("JPEG", "AVIF", "WEBP", "PNG"):
        assert problem_of(images.as_bytes(wide, kind), limits) is Problem.TOO_MANY_PIXELS
    small = PhotoLimits(max_megapixels=0)
    assert problem_of(images.HEIC.read_bytes(), small) is Problem.TOO_MANY_PIXELS


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(200_000_000), 9)),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(200_000_000), 9)),
    ],
)
def test_bombs_in_a_png_s_text_and_profile(kind, content):
    """Either refused or read without what was packed: in any case without unpacking 200 MB."""
    bomb = images.png_with(kind, content)
    tracemalloc.start()
    try:
        decode_photo(bomb, LIMITS)
    except PhotoRefused as refusal:
        assert refusal.problem is Problem.UNREADABLE
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 40_000_000


def test_a_jpeg_with_endless_scans():
    """Each repeated scan is a few bytes in the file and another pass over 12 megapixels to decode."""
    sent = images.as_bytes(Image.new("RGB", (3000, 4000), "gray"), progressive=True)
    last = sent[sent.rindex(b"\xff\xda") : -2]
    assert decode_photo(sent[:-2] + last * 5 + sent[-2:], LIMITS).size == (1500, 2000)
    begun = time.process_time()  # of this process's own work, however busy the machine is
    assert problem_of(sent[:-2] + last * 5000 + sent[-2:]) is Problem.UNREADABLE
    assert time.process_time() - begun < 5, "decoding all of it takes minutes"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_cut_short(kind, share):
    sent = images.as_bytes(images.selfie(), kind)
    assert problem_of(sent[: int(len(sent) * share)]) is Problem.UNREADABLE


def test_heic_cut_short():
    sent = images.HEIC.read_bytes()
    assert problem_of(sent[: len(sent) // 2]) is Problem.UNREADABLE


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
def test_animations(kind):
    sent = images.as_bytes(images.selfie(), kind, save_all=True, append_images=[images.selfie(2)])
    assert problem_of(sent) is Problem.ANIMATED


@pytest.mark.parametrize("brand", [b"hevc", b"hevx", b"msf1"])
def test_heic_sequences(brand):
    header = struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"heic" + b"hevc"
    assert problem_of(header + bytes(200)) is Problem.ANIMATED


def test_a_thumbnail_is_too_small():
    assert problem_of(images.as_bytes(images.selfie().resize((200, 300)))) is Problem.IMAGE_TOO_SMALL


# ---------------------------------------------------------------- whatever comes

MAGICS = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\x00\x00\x00\x00WEBP",
    b"RIFF\x00\x00\x00\x00WEBPVP8X",
    b"\x00\x00\x00\x18ftypheic",
    b"\x00\x00\x00\x18ftypavif",
]
SMALL = PhotoLimits(min_side_px=8)


def outcome(content: bytes) -> str:
    try:
        seen = decode_photo(content, SMALL)
    except PhotoRefused as refusal:
        return str(refusal.problem)
    assert seen.mode == "RGB"
    assert max(seen.size) <= SMALL.clean_side_px
    return "photo"


@settings(max_examples=150, deadline=2000)
@given(magic=st.sampled_from(MAGICS), noise=st.binary(max_size=400))
def test_random_bytes_are_always_judged(magic, noise):
    assert outcome(magic + noise) != "photo"


WHOLE = {
    kind: images.as_bytes(images.selfie().resize((96, 80)), kind) for kind in ("JPEG", "PNG", "WEBP", "AVIF")
}


@settings(max_examples=250, deadline=4000)
@given(data=st.data(), kind=st.sampled_from(sorted(WHOLE)))
def test_damaged_files_are_always_judged(data, kind):
    content = bytearray(WHOLE[kind])
    # Most of what can go wrong is in the headers, at the beginning.
    reach = data.draw(st.sampled_from([64, 700, len(content)]), label="reach")
    for _ in range(data.draw(st.integers(1, 6), label="flips")):
        content[data.draw(st.integers(0, min(reach, len(content)) - 1))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))), label="kept")
    assert outcome(bytes(content[:keep])) in {"photo", *map(str, Problem)}
