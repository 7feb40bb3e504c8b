"""Log lines are JSON with fixed fields, and hold no secrets."""

import io
import json
import logging
from pathlib import Path

import pytest
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import insert

from bot import log
from bot.store.database import Database
from bot.store.models import OutboxRow

WISH = "my secret wish"
TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"


@pytest.fixture
def stream(own_logging: None) -> io.StringIO:
    stream = io.StringIO()
    log.setup("bot", "INFO", ["MTAxMDEwMTAx.secret"], stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_its_fields(stream: io.StringIO) -> None:
    logging.getLogger("bot.x").info("job %s", "done", extra={"job_id": "train:1", "duration_ms": 12})
    (line,) = lines(stream)
    assert (line["level"], line["process"], line["source"], line["event"]) == (
        "info",
        "bot",
        "bot.x",
        "job done",
    )
    assert (line["job_id"], line["duration_ms"]) == ("train:1", 12)
    assert str(line["at"]).endswith("+00:00")


def test_secrets_never_show_even_in_a_traceback(stream: io.StringIO) -> None:
    try:
        raise ValueError(f"https://api.telegram.org/bot{TOKEN}/getMe MTAxMDEwMTAx.secret")
    except ValueError:
        logging.getLogger("bot").exception("failed with %s", TOKEN)
    assert TOKEN not in stream.getvalue()
    assert "MTAxMDEwMTAx.secret" not in stream.getvalue()
    (line,) = lines(stream)
    assert "ValueError" in str(line["trace"])


class Quoting(BaseModel):
    wish: int


def test_what_people_wrote_is_in_no_traceback(stream: io.StringIO, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    database.migrate()
    row = {"key": "k", "text": WISH, "kind": "message", "platform": "fake", "place": {}}
    try:
        with database._engine.begin() as connection:
            connection.execute(insert(OutboxRow), row)
    except SQLAlchemyError:
        logging.getLogger("bot").exception("failed")
    finally:
        database.close()
    try:
        try:
            Quoting.model_validate({"wish": WISH})
        except ValueError as error:
            raise RuntimeError("a row that cannot be read") from error
    except RuntimeError:
        logging.getLogger("bot").exception("failed")
    first, second = lines(stream)
    assert WISH not in stream.getvalue()
    assert "IntegrityError" in str(first["trace"])
    assert "test_log.py" in str(second["trace"])
    assert str(second["trace"]).index("ValidationError") < str(second["trace"]).index("a row that cannot")


def test_libraries_that_log_addresses_are_quiet(stream: io.StringIO) -> None:
    logging.getLogger("httpx").info("POST something")
    assert stream.getvalue() == ""


def test_facts_are_bound_to_what_happens_inside(stream: io.StringIO) -> None:
    with log.about(job_id="train:1"), log.about(stage="train"):
        logging.getLogger("worker").info("job", extra={"outcome": "done"})
    logging.getLogger("worker").info("idle")
    first, second = lines(stream)
    assert (first["job_id"], first["stage"], first["outcome"]) == ("train:1", "train", "done")
    assert "job_id" not in second
