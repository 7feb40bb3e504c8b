"""The form that takes photos, in private and in any channel: two fields of ten files."""

import discord

from bot.texts.form import FORM

FORM_ID = "v1:photos:"
FIELDS, FIELD_FILES_MAX = 2, 10  # Discord: at most 10 files a field and 5 fields a form


def photo_form() -> discord.ui.Modal:
    """A new form. Its fields are read by what they hold, so discord.py needs to remember nothing of it."""
    form = discord.ui.Modal(title=FORM["title"], custom_id=FORM_ID, timeout=None)
    for number in range(FIELDS):
        field: discord.ui.FileUpload[discord.ui.Modal] = discord.ui.FileUpload(
            custom_id=f"photos{number + 1}",
            required=number == 0,
            min_values=1 if number == 0 else 0,
            max_values=FIELD_FILES_MAX,
        )
        words = ("first", "first_hint") if number == 0 else ("more", "more_hint")
        form.add_item(discord.ui.Label(text=FORM[words[0]], description=FORM[words[1]], component=field))
    form.stop()
    return form
