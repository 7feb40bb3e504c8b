"""The marks that say a picture is made by a machine (EU AI Act, article 50): put on last, and read again."""

import io
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import c2pa

from engine.credentials import Credentials
from engine.durable_files import write_atomically
from engine.pictures import Pixels, encode_jpeg, read_picture
from engine.watermark import Watermark

JPEG = "image/jpeg"
# IPTC's word for media that a trained model made; the C2PA specification asks for it in `c2pa.created`.
MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@dataclass(frozen=True)
class Marks:
    """What a file says of itself.

    watermarked: the pixels carry Likeness's invisible watermark, also where the manifest was stripped.
    signed: it carries a manifest whose signature and contents fit. trusted: of this very installation.
    generated: the manifest says that a trained model made the picture. software: which, if said.
    """

    watermarked: bool = False
    signed: bool = False
    trusted: bool = False
    generated: bool = False
    software: str = ""


class Marker:
    """Signs pictures with the installation's credentials. Signing takes tens of milliseconds."""

    def __init__(self, folder: Path) -> None:
        """`folder` keeps the keys; they are made at first use. Raises OSError."""
        credentials = Credentials.load_or_create(folder)
        info = c2pa.C2paSignerInfo(
            alg=c2pa.C2paSigningAlg.ES256,
            sign_cert=credentials.chain,
            private_key=credentials.key,
            ta_url=None,  # a time-stamp would tell a stranger's server of every headshot
        )
        self._context = _context()
        self._signer = c2pa.Signer.from_info(info)
        self._watermark = Watermark()

    def sign(self, jpeg: bytes) -> bytes:
        """The same picture with a signed manifest in it."""
        target = io.BytesIO()
        with c2pa.Builder(_manifest(), self._context) as builder:
            builder.sign(self._signer, JPEG, io.BytesIO(jpeg), target)
        return target.getvalue()

    def finish(self, path: Path, pixels: Pixels) -> None:
        """Mark a picture and bring it to its file as a JPEG. Raises OSError, WatermarkUnusable."""
        write_atomically(path, self.sign(encode_jpeg(self._watermark.embed(pixels))))


def read_marks(path: Path, folder: Path) -> Marks:
    """The marks in a picture; `folder` holds this installation's keys. Raises OSError where the
    file is no picture."""
    content, watermarked = path.read_bytes(), Watermark().found(read_picture(path))
    authority = Credentials.load_or_create(folder).authority.decode()
    try:
        with c2pa.Reader(JPEG, io.BytesIO(content), context=_context(authority)) as reader:
            manifest, state = reader.get_active_manifest() or {}, reader.get_validation_state()
    except c2pa.C2paError:
        return Marks(watermarked)
    return Marks(
        watermarked,
        signed=state in ("Valid", "Trusted"),
        trusted=state == "Trusted",
        generated=MADE_BY_A_MODEL in json.dumps(manifest.get("assertions", [])),
        software=str((manifest.get("claim_generator_info") or [{}])[0].get("name", "")),
    )


def _context(authority: str = "") -> Any:
    trust = {"trust": {"user_anchors": authority}} if authority else {}
    settings = {
        "builder": {"thumbnail": {"enabled": False}},
        "verify": {"remote_manifest_fetch": False},
        **trust,
    }
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def _manifest() -> dict[str, Any]:
    created = {
        "action": "c2pa.created",
        "digitalSourceType": MADE_BY_A_MODEL,
        "softwareAgent": {"name": "Likeness", "version": version("likeness")},
    }
    return {
        "claim_generator_info": [{"name": "Likeness", "version": version("likeness")}],
        "title": "Headshot made by a machine",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }
