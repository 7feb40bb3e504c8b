"""HEIC photos, decoded in a process of their own: `python heic.py MAX_PIXELS CLEAN_SIDE_PX < photo > png`.

libheif's binding can end its process over a damaged file (seen with pi-heif 1.4.0: a segmentation fault over
a file whose tables were altered). In the engine's process that would stop everybody's training, so a
stranger's HEIC only ever ends a small process, which also has bounds on memory and time. The formats that
Pillow decodes itself stood the same tests in place.
"""

import io
import resource
import subprocess
import sys

import pi_heif

TOO_MANY_PIXELS = 3  # exit status; anything else but 0 means that the file cannot be read
TIME_LIMIT_SECONDS = 30
MEMORY_LIMIT_BYTES = 3 * 1024**3


def heic_as_png(content: bytes, max_pixels: int, clean_side_px: int) -> bytes | None:
    """The primary picture of a HEIC as PNG: upright, longest side at most `clean_side_px`, ICC profile kept.

    None where it has more than `max_pixels`. Raises ValueError where it cannot be read.
    """
    command = [sys.executable, "-P", __file__, str(max_pixels), str(clean_side_px)]
    try:
        done = subprocess.run(  # noqa: S603 - this file, with two numbers
            command, input=content, capture_output=True, timeout=TIME_LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError("HEIC not decoded in time") from error
    if done.returncode == TOO_MANY_PIXELS:
        return None
    if done.returncode != 0:
        raise ValueError(f"HEIC not decoded, exit status {done.returncode}")
    return done.stdout


def main() -> int:
    """The small process's work."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_LIMIT_SECONDS, TIME_LIMIT_SECONDS))
    max_pixels, clean_side_px = (int(value) for value in sys.argv[1:])
    photo = pi_heif.open_heif(io.BytesIO(sys.stdin.buffer.read()))
    if photo.size[0] * photo.size[1] > max_pixels:
        return TOO_MANY_PIXELS
    # libheif has already turned the picture; its EXIF still tells how it once lay, and stays behind here.
    picture = photo.to_pillow()
    profile = photo.info.get("icc_profile")
    picture.thumbnail((clean_side_px, clean_side_px))
    picture.info = {}
    picture.save(sys.stdout.buffer, "PNG", compress_level=1, icc_profile=profile)
    return 0


if __name__ == "__main__":
    sys.exit(main())
