"""What the engine process is asked and what it answers: one JSON object a line, on its standard streams.

Requests come on standard input, events go to standard output, logs to standard error. End of input means
that the worker is gone: the engine stops. Photos, adapters and pictures travel as paths, never as bytes.
Every request has an `id`; every event about it carries the same `id`. Importing this costs no torch.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

PROTOCOL_VERSION = 1


# ---------------------------------------------------------------- requests


@dataclass(frozen=True)
class CheckPhoto:
    """Look at one photo, and at the set it joins.

    `others` are the facts (`PhotoChecked.facts`) of the person's other photos, by photo id.
    `clean_path` is where the re-encoded photo is written (upright, without metadata) if it can be decoded.
    """

    id: str
    photo_id: str
    path: str
    clean_path: str
    others: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainAdapter:
    """Train an adapter. `work_dir` holds checkpoints and survives a restart: the same request goes on there.

    The finished adapter is `adapter_path` (safetensors). `facts` are the photos' facts by path's stem.
    """

    id: str
    person_id: str
    adapter_id: str
    photos: tuple[str, ...]
    work_dir: str
    adapter_path: str
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class MakeHeadshots:
    """Make `count` headshots into `out_dir`. `prompt` holds `{subject}` where the trained person stands.

    The same request gives the same pictures; what is already in `out_dir` is kept. `liked` and `disliked` are
    the `Picture.facts` of earlier headshots of this adapter that the person said something about, the oldest
    first.
    """

    id: str
    person_id: str
    adapter_id: str
    adapter_path: str
    prompt: str
    count: int
    seed: int
    out_dir: str
    liked: tuple[dict[str, Any], ...] = ()
    disliked: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Cancel:
    """Stop the request `target_id` within one quantum; it answers with `Failed(reason="cancelled")`."""

    id: str
    target_id: str


@dataclass(frozen=True)
class ForgetAdapter:
    """Drop everything cached of an adapter."""

    id: str
    adapter_id: str


Request = CheckPhoto | TrainAdapter | MakeHeadshots | Cancel | ForgetAdapter


# ---------------------------------------------------------------- events


@dataclass(frozen=True)
class Ready:
    """The base is loaded and requests are taken. `facts`: base, device, dtype, memory_mib,
    memory_tier, versions."""

    id: str = ""
    protocol: int = PROTOCOL_VERSION
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NotReady:
    """The engine cannot start and will exit: a sentence for the operator with the remedy."""

    id: str = ""
    reason: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class PhotoChecked:
    """Verdict on one photo, and changed verdicts on the others of its set.

    `verdicts` maps photo ids to {"verdict": accepted|doubtful|refused, "problems": [codes]}. `facts` is what
    the engine wants back in `CheckPhoto.others` (embedding, perceptual hash, face box, ...); it is personal
    data and is stored encrypted. It is empty where the photo could not be used at all.
    """

    id: str
    photo_id: str
    verdicts: dict[str, dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)
    milliseconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """How far a request is. `stage` is queued, preparing, training or generating."""

    id: str
    stage: str
    fraction: float = 0.0
    eta_seconds: float | None = None
    step: int = 0
    total_steps: int = 0
    ahead: int = 0
    loss: float | None = None


@dataclass(frozen=True)
class AdapterTrained:
    """The adapter file is complete on disk. `steps`: after how many of its training it was at its best.

    `likeness` is a band (strong, good, weak), or empty where it could not be measured; `advice` are codes of
    what further selfies would help. `facts` holds the likeness curve.
    """

    id: str
    adapter_id: str
    adapter_path: str
    steps: int
    seconds: float
    likeness: str = ""
    advice: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """One headshot on disk (PNG or JPEG), with its likeness to the person (SFace cosine) where measured.

    `facts` is what the engine wants back in `MakeHeadshots.liked` or `disliked`; it holds a face template and
    is stored encrypted.
    """

    path: str
    seed: int
    width: int
    height: int
    likeness: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HeadshotsMade:
    """The headshots of a request, best first: of `tried` pictures. `reached` of them lack nothing; `lacking`
    are codes of what the others lack."""

    id: str
    pictures: tuple[Picture, ...]
    seconds: float
    tried: int = 0
    reached: int = 0
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """The request ended without a result. `retry`: the same request may succeed later, unchanged."""

    id: str
    reason: str
    detail: str = ""
    retry: bool = False


Reply = Ready | NotReady | PhotoChecked | Progress | AdapterTrained | HeadshotsMade | Failed
Message = Request | Reply

_KINDS: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        CheckPhoto,
        TrainAdapter,
        MakeHeadshots,
        Cancel,
        ForgetAdapter,
        Ready,
        NotReady,
        PhotoChecked,
        Progress,
        AdapterTrained,
        HeadshotsMade,
        Failed,
    )
}


def encode(message: Message) -> str:
    """One line of JSON, without the newline."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}, separators=(",", ":"))


def decode(line: str) -> Message:
    """The message in a line. Raises ValueError for anything else."""
    try:
        values = json.loads(line)
        cls = _KINDS[values.pop("kind")]
        for name in ("photos", "advice", "liked", "disliked", "lacking"):
            if name in values:
                values[name] = tuple(values[name])
        if "pictures" in values:
            values["pictures"] = tuple(Picture(**picture) for picture in values["pictures"])
        message: Message = cls(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message of the engine: {line[:200]}") from error
    return message
