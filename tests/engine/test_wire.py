"""The pipe: what is no request is skipped, replies are whole lines, logs are JSON."""

import contextlib
import io
import json
import logging
import os
import threading

import pytest

from engine.messages import Cancel, Failed, decode, encode
from engine.wire import JsonLines, ReplyStream, read_requests


def test_requests_come_in_order_until_the_end_of_input() -> None:
    lines = [encode(Cancel("1", "a")), "", "nonsense", '{"kind": "Failed", "id": "x", "reason": "y"}', "[]"]
    stream = io.StringIO("\n".join([*lines, encode(Cancel("2", "b"))]) + "\n")
    taken: list = []
    read_requests(stream, taken.append, lambda: taken.append("end")).join(5)
    assert taken == [Cancel("1", "a"), Cancel("2", "b"), "end"]


def test_replies_of_many_threads_are_whole_lines() -> None:
    target = io.StringIO()
    replies = ReplyStream(target, closed=lambda: None)
    threads = [
        threading.Thread(target=lambda n=n: [replies.send(Failed(str(n), "x" * 500)) for _ in range(50)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    decoded = [decode(line) for line in target.getvalue().splitlines()]
    assert len(decoded) == 400
    assert all(reply.reason == "x" * 500 for reply in decoded)


def test_when_nobody_reads_any_more_it_is_said_and_nothing_raises() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    told: list[int] = []
    stream = os.fdopen(writing, "w")
    ReplyStream(stream, closed=lambda: told.append(1)).send(Failed("1", "x"))
    assert told == [1]
    with contextlib.suppress(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR])
def test_a_log_line_is_one_json_object(level: int) -> None:
    record = logging.LogRecord("engine.work", level, __file__, 1, "training_begun", None, None)
    record.request_id, record.photos = "r1", 15
    line = json.loads(JsonLines().format(record))
    assert (line["event"], line["request_id"], line["photos"]) == ("training_begun", "r1", 15)
    assert line["level"] == logging.getLevelName(level).lower()


def test_a_traceback_stays_on_its_line() -> None:
    try:
        raise RuntimeError("broken\nin two")
    except RuntimeError as error:
        record = logging.LogRecord("engine", logging.ERROR, __file__, 1, "request_failed", None, None)
        record.exc_info = (type(error), error, error.__traceback__)
    formatted = JsonLines().format(record)
    assert "\n" not in formatted
    assert "RuntimeError: broken" in json.loads(formatted)["traceback"]
