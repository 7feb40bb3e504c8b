"""The queue contract: rows written by any release stay readable, and nothing else gets in."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from bot import jobs
from bot.conversation import types

GOLDEN = json.loads((Path(__file__).parent / "golden" / "jobs_v1.json").read_text())

EVENTS = (
    types.SelfiesJudged(
        (
            types.SelfieJudged("s1", types.Verdict.ACCEPTED),
            types.SelfieJudged("s2", types.Verdict.REFUSED, ("no_face",)),
        )
    ),
    types.SelfieLost("s3", "gone"),
    types.TrainingProgressed("a1", "training", 0.5, 42.0, 0),
    types.TrainingFinished("a1", 88.5, "good", ("left",)),
    types.TrainingFailed("a1", "out_of_memory"),
    types.ShootFinished("h1", ("h1.0", "h1.1"), 9.5),
    types.ShootFailed("h1", "cancelled"),
)


@pytest.mark.parametrize("payload", GOLDEN["payloads"], ids=lambda payload: payload["kind"])
def test_rows_of_version_1_stay_readable_and_are_written_the_same(payload: dict[str, object]) -> None:
    written = json.loads(jobs.PAYLOADS.dump_json(jobs.PAYLOADS.validate_python(payload)))
    assert written.items() >= payload.items()
    assert jobs.PAYLOADS.validate_python(written) == jobs.PAYLOADS.validate_python(payload)


@pytest.mark.parametrize("index", range(len(EVENTS)), ids=lambda index: type(EVENTS[index]).__name__)
def test_events_of_version_1_stay_readable_and_are_written_the_same(index: int) -> None:
    written = jobs.pack_event(EVENTS[index])
    assert written["event"] == GOLDEN["events"][index]["event"]
    assert written["values"].items() >= GOLDEN["events"][index]["values"].items()
    assert jobs.unpack_event(written) == EVENTS[index]
    assert jobs.unpack_event(GOLDEN["events"][index]) == EVENTS[index]


def test_what_was_added_since_is_written_and_read() -> None:
    shoot = jobs.MakeHeadshots(
        shoot_id="h", adapter_id="a", prompt="p", count=4, seed=3, liked=("g.0",), disliked=("g.1",)
    )
    assert jobs.PAYLOADS.validate_json(jobs.PAYLOADS.dump_json(shoot)) == shoot
    event = types.ShootFinished("h1", ("h1.0",), 9.5, 12, 0, ("unlike",))
    assert jobs.unpack_event(json.loads(json.dumps(jobs.pack_event(event)))) == event


def test_every_event_of_the_contract_has_a_golden_row() -> None:
    assert {event["event"] for event in GOLDEN["events"]} == {cls.__name__ for cls in jobs.WorkEvent.__args__}


@pytest.mark.parametrize(
    "payload",
    [
        {"kind": "check"},
        {"kind": "check", "version": 2, "selfie_id": "s"},
        {"kind": "check", "selfie_id": "s", "surprise": 1},
        {"kind": "delete_everything"},
        {},
    ],
)
def test_anything_else_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        jobs.PAYLOADS.validate_python(payload)


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown work event"):
        jobs.unpack_event({"event": "Nonsense", "values": {}})


def test_the_same_work_has_the_same_id() -> None:
    assert jobs.job_id("train", "a1") == jobs.job_id("train", "a1") != jobs.job_id("shoot", "a1")
