"""A photo's bytes into pixels that are safe to work with: upright, sRGB, without metadata, of a bounded size.

The bytes come from strangers. What they are is read from the bytes, not from a name; how large they will be
is read from the header, before a pixel is decoded. Each format's own reader is called directly, so no other
of Pillow's sixty readers ever sees the bytes.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from PIL.AvifImagePlugin import AvifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from engine.heic import heic_as_png
from engine.photo_facts import Problem

MIB = 1024 * 1024
# What a reader may raise at bytes that are not what they seem.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)
# A progressive JPEG has about ten scans; thousands of them cost minutes to decode.
MAX_JPEG_SCANS = 64
MAX_PROFILE_BYTES = 4 * MIB
EXIF_ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PhotoRefused(Exception):
    """The bytes do not become a photo. `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class PhotoLimits:
    """How much a photo may be.

    max_file_mib: Telegram lets a bot fetch 20 MiB. max_megapixels: today's phones make 12 to 50.
    min_side_px: the shorter side. clean_side_px: longest side of what is kept; training uses up to 1024 px.
    """

    max_file_mib: int = 20
    max_megapixels: int = 50
    min_side_px: int = 320
    clean_side_px: int = 2048

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return self.max_megapixels * 1_000_000

    def check_size(self, width: int, height: int) -> None:
        """Raises PhotoRefused for a picture that is too large to decode, or too small to be of use."""
        if width * height > self.max_pixels:
            raise PhotoRefused(Problem.TOO_MANY_PIXELS)
        if min(width, height) < self.min_side_px:
            raise PhotoRefused(Problem.IMAGE_TOO_SMALL)


def load_photo(path: Path, limits: PhotoLimits) -> Image.Image:
    """The photo in a file as RGB, upright, sRGB, longest side at most `limits.clean_side_px`, without
    metadata.

    Raises PhotoRefused for what cannot be used, and OSError where the file itself cannot be read.
    """
    if path.stat().st_size > limits.max_file_mib * MIB:
        raise PhotoRefused(Problem.FILE_TOO_LARGE)
    return decode_photo(path.read_bytes(), limits)


def decode_photo(content: bytes, limits: PhotoLimits) -> Image.Image:
    """`load_photo` for bytes at hand."""
    if not content:
        raise PhotoRefused(Problem.EMPTY)
    open_format = _sniff(content)
    if open_format is None:
        raise PhotoRefused(Problem.WRONG_FORMAT)
    with warnings.catch_warnings():
        # Pillow warns of damaged EXIF and the like: nothing that an operator could act on.
        warnings.simplefilter("ignore")
        try:
            return _decode(open_format, content, limits)
        except (*DAMAGED, Image.DecompressionBombError) as error:
            raise PhotoRefused(Problem.UNREADABLE) from error


def save_clean(picture: Image.Image, path: Path) -> None:
    """Write the photo as JPEG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    picture.save(unfinished, "JPEG", quality=95, subsampling="4:4:4")
    unfinished.replace(path)


_Opener = Callable[[bytes, PhotoLimits], Image.Image]


def _decode(open_format: _Opener, content: bytes, limits: PhotoLimits) -> Image.Image:
    picture = open_format(content, limits)
    profile = picture.info.get("icc_profile") or b""
    orientation = _orientation(picture)
    picture = _plain_mode(picture)
    picture.thumbnail((limits.clean_side_px, limits.clean_side_px), Image.Resampling.BICUBIC)
    picture = _to_srgb(picture, profile)
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation])
    # Only the pixels go on: whatever the file said beside them stays behind.
    return Image.fromarray(np.array(picture))


# ---------------------------------------------------------------- formats


def _sniff(content: bytes) -> _Opener | None:
    if content.startswith(b"\xff\xd8\xff"):
        return _open_jpeg
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _open_png
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _open_webp
    if content[4:8] == b"ftyp":
        size = min(max(int.from_bytes(content[:4]), 16), 256)
        brands = {content[8:12]} | {content[start : start + 4] for start in range(16, size, 4)}
        if brands & {b"avif", b"avis"}:
            return _open_avif
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}:
            return _open_heic
    return None


def _open_jpeg(content: bytes, limits: PhotoLimits) -> Image.Image:
    # Not Image.open: that would take a phone's photo with a second picture inside (MPO) for an animation.
    picture = JpegImageFile(io.BytesIO(content))
    limits.check_size(*picture.size)
    if content.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise PhotoRefused(Problem.UNREADABLE)
    # libjpeg can decode at 1/2, 1/4 and 1/8: the smallest that keeps three quarters of the clean size.
    longest, wanted = max(picture.size), limits.clean_side_px * 3 // 4
    scale = next((scale for scale in (8, 4, 2) if longest // scale >= wanted), 1)
    picture.draft("RGB", (picture.width // scale, picture.height // scale))
    picture.load()
    return picture


def _open_png(content: bytes, limits: PhotoLimits) -> Image.Image:
    # Pillow itself bounds what text and profile chunks may unpack to (1 MiB each, 64 MiB in all).
    picture = PngImageFile(io.BytesIO(content))
    limits.check_size(*picture.size)
    return _still(picture, picture.is_animated)


def _open_webp(content: bytes, limits: PhotoLimits) -> Image.Image:
    # Read by hand: Pillow's reader makes room for the whole canvas, twice, as soon as it opens the file.
    limits.check_size(*_webp_size(content))
    picture = WebPImageFile(io.BytesIO(content))
    return _still(picture, picture.is_animated)


def _open_avif(content: bytes, limits: PhotoLimits) -> Image.Image:
    if content[8:12] == b"avis":
        raise PhotoRefused(Problem.ANIMATED)
    picture = AvifImageFile(io.BytesIO(content))
    limits.check_size(*picture.size)
    return _still(picture, picture.is_animated)


def _open_heic(content: bytes, limits: PhotoLimits) -> Image.Image:
    if content[8:12] in (b"hevc", b"hevx", b"msf1"):
        raise PhotoRefused(Problem.ANIMATED)
    png = heic_as_png(content, limits.max_pixels, limits.clean_side_px)
    if png is None:
        raise PhotoRefused(Problem.TOO_MANY_PIXELS)
    return _open_png(png, limits)


def _still(picture: Image.Image, animated: bool) -> Image.Image:
    if animated:
        raise PhotoRefused(Problem.ANIMATED)
    picture.load()
    return picture


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height from a WebP's first chunk (RFC 9649). Raises struct.error, ValueError."""
    kind = content[12:16]
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", content, 24)
        return 1 + low_width + (high_width << 16), 1 + low_height + (high_height << 16)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise ValueError("not a WebP picture")


# ---------------------------------------------------------------- pixels


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(EXIF_ORIENTATION, 1))
    except DAMAGED:  # a photo with damaged EXIF is still a photo
        return 1


def _plain_mode(picture: Image.Image) -> Image.Image:
    """One of L, RGB, CMYK: 16 bits become 8, palettes become colours, what is transparent becomes white."""
    if picture.mode.startswith("I"):
        deep = np.asarray(picture).astype(np.int64)
        return Image.fromarray((deep.clip(0, 65535) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        ground = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(ground, seen).convert("RGB")
    return picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """RGB in sRGB. A profile that is damaged or of another kind of picture is taken for sRGB."""
    if profile and len(profile) <= MAX_PROFILE_BYTES:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                target = ImageCms.createProfile("sRGB")
                turned = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
                if turned is not None:
                    return turned
        except (ImageCms.PyCMSError, *DAMAGED):
            return picture.convert("RGB")
    return picture.convert("RGB")
