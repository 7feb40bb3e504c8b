"""The queue contract: what a job row holds, what a result event holds, and how a worker is woken.

The job row in the database is the job. arq carries only its id, as JSON, and may lose or repeat it: a sweep
re-enqueues what was not taken, and a worker claims the row before it does anything.
Payloads are typed and versioned; a row written by an older release stays readable.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from bot.conversation.types import (
    SelfieLost,
    SelfiesJudged,
    ShootFailed,
    ShootFinished,
    TrainingFailed,
    TrainingFinished,
    TrainingProgressed,
)


class _Payload(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    version: Literal[1] = 1


class CheckSelfie(_Payload):
    """Look at a fetched selfie."""

    kind: Literal["check"] = "check"
    selfie_id: str


class TrainAdapter(_Payload):
    """Train an adapter from these selfies."""

    kind: Literal["train"] = "train"
    adapter_id: str
    selfie_ids: tuple[str, ...]
    seed: int = 0


class MakeHeadshots(_Payload):
    """Make the headshots of a shoot. liked, disliked: headshots of this adapter that the person had said
    something about when the shoot was asked for."""

    kind: Literal["shoot"] = "shoot"
    shoot_id: str
    adapter_id: str
    prompt: str
    count: int
    seed: int
    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()


Payload = Annotated[CheckSelfie | TrainAdapter | MakeHeadshots, Field(discriminator="kind")]
PAYLOADS: TypeAdapter[CheckSelfie | TrainAdapter | MakeHeadshots] = TypeAdapter(Payload)

WorkEvent = (
    SelfiesJudged
    | SelfieLost
    | TrainingProgressed
    | TrainingFinished
    | TrainingFailed
    | ShootFinished
    | ShootFailed
)

QUEUES = {"check": "likeness:check", "train": "likeness:train", "shoot": "likeness:shoot"}


def job_id(kind: str, subject_id: str) -> str:
    """Deterministic: the same work never becomes two rows."""
    return f"{kind}:{subject_id}"


_EVENTS: dict[str, TypeAdapter[Any]] = {
    cls.__name__: TypeAdapter(cls)
    for cls in (
        SelfiesJudged,
        SelfieLost,
        TrainingProgressed,
        TrainingFinished,
        TrainingFailed,
        ShootFinished,
        ShootFailed,
    )
}


def pack_event(event: WorkEvent) -> dict[str, Any]:
    """A work event as the payload of an inbox row."""
    name = type(event).__name__
    return {"event": name, "values": json.loads(_EVENTS[name].dump_json(event))}


def unpack_event(payload: dict[str, Any]) -> WorkEvent:
    """Inverse of `pack_event`. Raises ValueError for anything else."""
    try:
        adapter = _EVENTS[payload["event"]]
    except KeyError as error:
        raise ValueError(f"unknown work event {payload.get('event')!r}") from error
    event: WorkEvent = adapter.validate_python(payload["values"])
    return event
