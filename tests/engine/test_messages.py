"""The wire between worker and engine: every message survives a line of JSON, nothing else is taken."""

import json

import pytest

from engine import messages as m

EVERY_MESSAGE = (
    m.CheckPhoto("1", "p", "/in", "/out", {"q": {"box": [1, 2, 3, 4]}}),
    m.TrainAdapter(
        "2", "person", "a", ("/1.jpg", "/2.jpg"), "/work", "/a.safetensors", {"1": {"score": 0.9}}, 7
    ),
    m.MakeHeadshots("3", "person", "a", "/a.safetensors", "photo of {subject}", 4, 11, "/out"),
    m.Cancel("4", "2"),
    m.ForgetAdapter("5", "a"),
    m.Ready(facts={"base": "tiny"}),
    m.NotReady(reason="base_unusable", sentence="Fetch it again."),
    m.PhotoChecked("1", "p", {"p": {"verdict": "accepted", "problems": []}}, {"score": 0.9}, 12.5),
    m.Progress("2", "training", 0.5, 30.0, 5, 10, 0, 0.7),
    m.AdapterTrained("2", "a", "/a.safetensors", 10, 60.0, "good", ("left",), {"loss": 0.5}),
    m.HeadshotsMade("3", (m.Picture("/0.jpg", 3, 256, 256, 0.5), m.Picture("/1.jpg", 4, 256, 256)), 9.0),
    m.Failed("3", "out_of_memory", "8 GiB", retry=True),
)


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: m.Message) -> None:
    line = m.encode(message)
    assert "\n" not in line
    assert m.decode(line) == message


def test_every_kind_is_tried_above() -> None:
    kinds = {*m.Request.__args__, *m.Reply.__args__}
    assert {type(message) for message in EVERY_MESSAGE} == kinds


def test_a_line_break_in_a_prompt_stays_in_its_line() -> None:
    request = m.MakeHeadshots("3", "person", "a", "/a", "one\ntwo\u2028three", 1, 1, "/out")
    assert len(m.encode(request).splitlines()) == 1
    assert m.decode(m.encode(request)) == request


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "[]",
        "3",
        "{}",
        json.dumps({"kind": "Surprise", "id": "1"}),
        json.dumps({"kind": "Cancel"}),
        json.dumps({"kind": "Cancel", "id": "1", "target_id": "2", "more": 3}),
        json.dumps({"kind": "HeadshotsMade", "id": "1", "pictures": [{"path": "x"}], "seconds": 1}),
    ],
)
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        m.decode(line)
