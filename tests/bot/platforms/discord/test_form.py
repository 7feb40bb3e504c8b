"""The form for photos."""

from bot.platforms.discord.form import FORM_ID, photo_form
from tests.servers.discord_rules import check_form


async def test_it_takes_twenty_photos_and_needs_one() -> None:
    form = photo_form().to_dict()
    check_form(form)
    assert form["custom_id"] == FORM_ID
    uploads = [label["component"] for label in form["components"]]
    assert [(each["min_values"], each["max_values"], each["required"]) for each in uploads] == [
        (1, 10, True),
        (0, 10, False),
    ]


async def test_discord_py_need_not_remember_it() -> None:
    assert photo_form().is_finished()
