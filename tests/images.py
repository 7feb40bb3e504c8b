"""Makers of test pictures: the photos that ship with the project, and files that are broken on purpose."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageDraw

ROOT = Path(__file__).parent.parent
SELFIES = sorted((ROOT / "bot" / "demo_selfies").glob("*.jpg"))  # one synthetic person, CC0
OTHERS = sorted((ROOT / "tests" / "data").glob("other_*.jpg"))  # another one, CC0
HEIC = ROOT / "tests" / "data" / "selfie.heic"

EXIF_ORIENTATION, EXIF_MAKE, EXIF_GPS = 0x0112, 0x010F, 0x8825


def selfie(number: int = 1) -> Image.Image:
    """A selfie of the demo's person, 768 px, RGB."""
    return Image.open(SELFIES[number - 1]).convert("RGB")


def other(number: int = 1) -> Image.Image:
    """A selfie of another person, 768 px, RGB."""
    return Image.open(OTHERS[number - 1]).convert("RGB")


def as_bytes(picture: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """A picture in a file format."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def phone_photo(orientation: int = 6) -> bytes:
    """A selfie as a phone writes it: lying on its side with a note how to turn it, maker's name and GPS."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION], exif[EXIF_MAKE] = orientation, "Phonemaker"
    exif.get_ifd(EXIF_GPS).update({1: "N", 2: (48.0, 51.0, 29.9), 3: "E", 4: (2.0, 17.0, 40.2)})
    lying = selfie(2).transpose(Image.Transpose.ROTATE_90)
    return as_bytes(lying, exif=exif.tobytes(), comment=b"Phonemaker")


def strange_profile() -> bytes:
    """An ICC profile of a screen whose red lamp is blue and whose blue lamp is red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"?").replace(b"bXYZ", b"rXYZ").replace(b"?", b"bXYZ")
    return swapped.replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be")).replace(b"sRGB", b"odd!")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(width: int = 20_000, height: int = 10_000) -> bytes:
    """A valid PNG of 200 megapixels in 25 KB."""
    rows = zlib.compress(bytes(height * (1 + width // 8)), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_with(kind: bytes, content: bytes) -> bytes:
    """A selfie as PNG with one more chunk before its pixels."""
    png = as_bytes(selfie(), "PNG", compress_level=1)
    return png[:33] + png_chunk(kind, content) + png[33:]


def webp_bomb() -> bytes:
    """The header of a WebP of 268 megapixels."""
    canvas = struct.pack("<I", 0)[:4] + (16_383).to_bytes(3, "little") * 2
    chunk = b"VP8X" + struct.pack("<I", 10) + canvas
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def landscape(width: int = 1024, height: int = 768) -> Image.Image:
    """Sky, hills and grass."""
    rng = np.random.default_rng(7)
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    sky = np.stack([90 + 120 * down, 140 + 90 * down, 235 - 20 * down], axis=-1)
    hills = down > 0.55 + 0.08 * np.sin(9 * across) + 0.04 * np.sin(23 * across)
    grass = np.stack([60 + 0 * down, 90 + 60 * down, 40 + 0 * down], axis=-1)
    grass = grass + rng.normal(0, 18, (height, width, 1))
    return Image.fromarray(np.where(hills[..., None], grass, sky).clip(0, 255).astype(np.uint8))


def cartoon(skin: str = "#8d5524", side: int = 800) -> Image.Image:
    """A face drawn in flat colours."""
    picture = Image.new("RGB", (side, side), "#8888cc")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((200, 150, 600, 680), fill=skin, outline="black", width=4)
    draw.chord((190, 120, 610, 400), 180, 360, fill="brown")
    for x in (300, 450):
        draw.ellipse((x, 330, x + 50, 370), fill="white", outline="black", width=3)
        draw.ellipse((x + 15, 340, x + 35, 360), fill="black")
    draw.line((400, 380, 385, 460, 410, 465), fill="black", width=4)
    draw.arc((320, 450, 480, 580), 20, 160, fill="red", width=10)
    return picture


def group_photo() -> Image.Image:
    """Two people side by side."""
    picture = Image.new("RGB", (1536, 768))
    picture.paste(selfie(), (0, 0))
    picture.paste(other(), (768, 0))
    return picture


def relit(picture: Image.Image, stops: float, tint: tuple[float, float, float] = (1, 1, 1)) -> Image.Image:
    """The same picture in other light: so many stops brighter, through a filter of that colour."""
    linear = (np.asarray(picture) / 255) ** 2.2 * 2**stops * np.array(tint)
    return Image.fromarray(((linear.clip(0, 1) ** (1 / 2.2)) * 255).astype(np.uint8))
