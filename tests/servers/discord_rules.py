"""The limits that Discord documents for what a bot sends; what breaks one is refused the same way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.servers.discord_world import BUTTON, COMMAND, COMPLETION, FORM, Json

CONTENT_MAX, FILES_MAX, FILE_MAX_BYTES, NONCE_MAX = 2000, 10, 10 * 1024 * 1024, 25
ROWS_MAX, ROW_MAX, LABEL_MAX, CUSTOM_ID_MAX = 5, 5, 80, 100
COMMANDS_MAX, OPTIONS_MAX, NAME_MAX, DESCRIPTION_MAX, CHOICES_MAX = 100, 25, 32, 100, 25
TITLE_MAX, FIELD_LABEL_MAX, FIELDS_MAX, UPLOADS_MAX = 45, 45, 5, 10
ANSWERS = {  # interaction type -> types of a first answer
    COMMAND: {4, 5, 9},
    BUTTON: {4, 5, 6, 7, 9},
    FORM: {4, 5, 6, 7},
    COMPLETION: {8},
}


@dataclass
class Refusal(Exception):
    """An error answer."""

    status: int
    code: int
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    extra: Json = field(default_factory=dict)


def invalid(what: str) -> Refusal:
    """Invalid Form Body."""
    return Refusal(400, 50035, f"Invalid Form Body: {what}")


def check_message(body: Json, files: Sequence[bytes], *, edit: bool = False) -> None:
    """Raises Refusal."""
    content = body.get("content") or ""
    if len(content) > CONTENT_MAX:
        raise invalid("content: Must be 2000 or fewer in length.")
    if len(files) > FILES_MAX:
        raise invalid("attachments: Must be 10 or fewer in length.")
    if any(len(data) > FILE_MAX_BYTES for data in files):
        raise Refusal(413, 40005, "Request entity too large")
    if len(str(body.get("nonce") or "")) > NONCE_MAX:
        raise invalid("nonce: Must be 25 or fewer in length.")
    if not (content.strip() or files or edit):
        raise Refusal(400, 50006, "Cannot send an empty message")
    _check_components(body.get("components") or [])


def _check_components(rows: Sequence[Json]) -> None:
    if len(rows) > ROWS_MAX:
        raise invalid("components: Must be 5 or fewer in length.")
    seen: set[str] = set()
    for row in rows:
        buttons = row.get("components", [])
        if row.get("type") != 1 or not 1 <= len(buttons) <= ROW_MAX:
            raise invalid("components: a row holds 1 to 5 buttons")
        for button in buttons:
            custom_id, label = button.get("custom_id", ""), button.get("label", "")
            if button.get("type") != 2 or not 1 <= len(label) <= LABEL_MAX:
                raise invalid("components: a label has 1 to 80 characters")
            if not 1 <= len(custom_id) <= CUSTOM_ID_MAX or custom_id in seen:
                raise invalid("components: custom_id must be unique, 1 to 100 characters")
            seen.add(custom_id)


def check_commands(commands: Sequence[Json]) -> None:
    """Raises Refusal."""
    if len(commands) > COMMANDS_MAX or len({each["name"] for each in commands}) < len(commands):
        raise invalid("commands: too many, or a name twice")
    for command in commands:
        _check_named(command)
        options = command.get("options", [])
        if len(options) > OPTIONS_MAX:
            raise invalid("options: Must be 25 or fewer in length.")
        for option in options:
            _check_named(option)
        required = [bool(option.get("required")) for option in options]
        if required != sorted(required, reverse=True):
            raise invalid("options: required ones come first")


def _check_named(thing: Json) -> None:
    name, description = thing["name"], thing.get("description", "")
    plain = name.replace("-", "").replace("_", "").isalnum() and name == name.lower()
    if not (plain and 1 <= len(name) <= NAME_MAX):
        raise invalid(f"name: {name!r}")
    if not 1 <= len(description) <= DESCRIPTION_MAX:
        raise invalid(f"description of {name}")


def check_form(form: Json) -> None:
    """Raises Refusal."""
    fields = form.get("components", [])
    if not 1 <= len(form.get("title", "")) <= TITLE_MAX or not 1 <= len(fields) <= FIELDS_MAX:
        raise invalid("a form has a title of 1 to 45 characters and 1 to 5 fields")
    if not 1 <= len(form.get("custom_id", "")) <= CUSTOM_ID_MAX:
        raise invalid("custom_id")
    for label in fields:
        upload = label.get("component", {})
        if label.get("type") != 18 or not 1 <= len(label.get("label", "")) <= FIELD_LABEL_MAX:
            raise invalid("a field stands in a label of 1 to 45 characters")
        if len(label.get("description") or "") > DESCRIPTION_MAX:
            raise invalid("description")
        least, most = upload_bounds(upload)
        if upload.get("type") != 19 or not 0 <= least <= most <= UPLOADS_MAX:
            raise invalid("this server knows forms with file uploads of 0 to 10 files only")


def upload_bounds(upload: Json) -> tuple[int, int]:
    """Fewest and most files of a field."""
    least: Any = upload.get("min_values")
    most: Any = upload.get("max_values")
    return 1 if least is None else least, 1 if most is None else most
