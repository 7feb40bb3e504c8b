"""The picture of a conversation in the README: `python -m docs.pictures.conversation [FOLDER]`.

Needs what the tests need (`make test` installs it); run it in the project's folder. Likeness runs for real,
with its small base, against the tests' Telegram server, and one person walks through it: a few minutes. The
conversation is kept in FOLDER, if one is named, and then drawn again without being played again. Each message
is there as it reads in the end, one with a button that the person taps as it reads then, and the one with the
progress also as it reads on the way. The photos stand together, and the buttons that are tapped are dark.
"""

import asyncio
import json
import re
import sys
import tempfile
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from tests.integration.installation import SELFIES, Installation, has_button
from tests.servers.telegram_people import TelegramPeople
from tests.servers.telegram_server import running_server

Message = dict[str, Any]  # as the Bot API has it
PICTURE, KEPT = Path(__file__).with_suffix(".jpg"), "conversation.json"
CONFIG = '[bot]\ndata_dir = "{}"\n[telegram]\napi_url = "{}"\n[engine]\nbase = "demo"\ndevice = "cpu"\n'
TITLES = ("1  You agree and send selfies", "2  It learns your face", "3  You ask for headshots")
LATER: Message = {"text": "a little later", "from": {"is_bot": True}}  # nobody's message
TAPPED = ("v1:consent_yes:", "v1:train:")

SCALE = 2  # drawn larger, then shrunk: smooth edges
PHONE, GAP, PAD, TEXT, LINE, BUTTON = (n * SCALE for n in (416, 16, 12, 17, 23, 36))
TITLE, RADIUS, THIN, BUBBLE = (n * SCALE for n in (56, 14, 4, 376))
PAGE, WALL, OURS, THEIRS = (255, 255, 255), (231, 234, 240), (255, 255, 255), (214, 228, 255)
INK, BLUE, GREEN, LIGHT = (26, 28, 34), (38, 84, 190), (38, 150, 84), (207, 213, 224)
FONT = ImageFont.load_default(TEXT)
SIGN_WIDTHS = {"•": 0.5, "✅": 1.15, "✓": 0.9, "▓": 0.9, "░": 0.9}  # drawn: the font lacks them


async def play(folder: Path) -> None:
    """Walk through it; keep the chat as it is during the training and at the end, and the pictures in it."""
    async with running_server() as server, TelegramPeople(server.url) as people:
        studio, person = Installation(folder, server.url), await people.person()
        studio.config.write_text(CONFIG.format(studio.data_dir, server.url))
        photos = [path.read_bytes() for path in sorted(SELFIES.glob("*.jpg"))]
        await studio.start()
        try:
            await person.text("/start")
            consent = await person.wait_for(has_button("consent_yes"), timeout=60)
            tapped = await people.call("messages", chat_id=person.id)
            await person.press("consent_yes", consent)
            await person.wait_for("send me selfies")
            await person.album(photos[:10])  # Telegram's apps split them at ten
            await person.album(photos[10:])
            await person.wait_for(f"{len(photos)} of {len(photos)} good", timeout=300)
            await studio.wait_for(studio.quiet, "every verdict to be out")
            tapped += (await people.call("messages", chat_id=person.id))[len(tapped) :]
            await person.press("train")
            await person.wait_for("▓" * 8, timeout=1200)  # of 12 cells
            during = await people.call("messages", chat_id=person.id)
            await person.wait_for(has_button("style"), timeout=1200)
            await person.text("/headshot linkedin style")
            await person.wait_for(has_button("originals"), timeout=600)
            await studio.wait_for(studio.quiet, "everything to be out")
            after = await people.call("messages", chat_id=person.id)
        finally:
            await studio.stop()
        for file in [message["photo"][-1]["file_id"] for message in after if "photo" in message]:
            (folder / f"{file}.jpg").write_bytes(await people.file(file))
        (folder / KEPT).write_text(json.dumps([tapped, during, after], indent=1))


def columns(tapped: list[Message], during: list[Message], after: list[Message]) -> list[list[Message]]:
    """The messages of each phone: to the photos, to the end of the training, and the rest."""
    then = {message["message_id"]: message for message in tapped}
    seen = [then.get(message["message_id"], message) for message in during]
    photos, words = ([each for each in seen if ("photo" in each) is wanted] for wanted in (True, False))
    news = [message for message in after if message not in during]
    judged = next(n for n, message in enumerate(words) if message["text"].startswith("Your selfies"))
    asked = next(n for n, message in enumerate(news) if message["text"].startswith("/headshot"))
    return [[*words[:judged], *photos], [*words[judged:], LATER, *news[:asked]], news[asked:]]


class Phone:
    """One column; `top` is where the next thing goes."""

    def __init__(self, folder: Path, title: str) -> None:
        self.folder = folder
        self.page = Image.new("RGB", (PHONE, 4 * PHONE), WALL)  # long enough; cut at the end
        self.pen = ImageDraw.Draw(self.page)
        self.pen.rectangle((0, 0, PHONE, TITLE), BLUE)
        self.pen.text((2 * PAD, TITLE / 2), title, PAGE, ImageFont.load_default(TEXT * 1.15), anchor="lm")
        self.top = TITLE + PAD

    def show(self, messages: list[Message]) -> None:
        """All of them; pictures that follow each other are one album."""
        for pictures, group in groupby(messages, key=lambda message: "photo" in message):
            if pictures:
                self._album(list(group))
                continue
            for message in group:
                self._words(message)
                self._buttons(message.get("reply_markup", {}).get("inline_keyboard", []))
                self.top += PAD

    def _words(self, message: Message) -> None:
        lines = [line for each in message["text"].split("\n") for line in _wrapped(each, BUBBLE - 2 * PAD)]
        width = BUBBLE if "reply_markup" in message else max(map(_width, lines)) + 2 * PAD
        heights = [LINE if line else LINE / 2 for line in lines]
        bottom = self.top + sum(heights) + 1.5 * PAD
        left, colour = (PAD, OURS) if message["from"]["is_bot"] else (PHONE - PAD - width, THEIRS)
        if message is LATER:
            left, colour = (PHONE - width) / 2, WALL
        self.pen.rounded_rectangle((left, self.top, left + width, bottom), RADIUS, colour)
        for line, above in zip(lines, accumulate(heights, initial=0.75 * PAD), strict=False):
            self._line(left + PAD, self.top + above + LINE / 2, line)
        self.top = int(bottom)

    def _line(self, x: float, middle: float, line: str) -> None:
        for piece in re.split(f"([{''.join(SIGN_WIDTHS)}])", line):
            if piece in SIGN_WIDTHS:
                self._sign(piece, x, middle)
            else:
                self.pen.text((x, middle), piece, INK, FONT, anchor="lm")
            x += _width(piece)

    def _sign(self, sign: str, x: float, middle: float) -> None:
        def spot(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
            return x + left * TEXT, middle + top * TEXT, x + right * TEXT, middle + bottom * TEXT

        if sign == "•":
            self.pen.ellipse(spot(0.02, -0.13, 0.28, 0.13), INK)
        elif sign in "▓░":
            self.pen.rounded_rectangle(spot(0, -0.36, 0.8, 0.36), THIN / 2, BLUE if sign == "▓" else LIGHT)
        elif sign == "✅":
            self.pen.rounded_rectangle(spot(0, -0.5, 1, 0.5), 0.2 * TEXT, GREEN)
        if sign in "✅✓":
            tick = spot(0.2, 0.02, 0.42, 0.24) + spot(0.8, -0.24, 0, 0)[:2]
            self.pen.line(tick, PAGE if sign == "✅" else GREEN, int(0.14 * TEXT), joint="curve")

    def _buttons(self, rows: list[list[dict[str, str]]]) -> None:
        for row in rows:
            self.top += THIN
            width = (BUBBLE - (len(row) - 1) * THIN) / len(row)
            for number, button in enumerate(row):
                left, middle = PAD + number * (width + THIN), self.top + BUTTON / 2
                paint, ink = (BLUE, PAGE) if button["callback_data"].startswith(TAPPED) else (LIGHT, INK)
                box = (left, self.top, left + width, self.top + BUTTON)
                self.pen.rounded_rectangle(box, RADIUS * 0.7, paint)
                self.pen.text((left + width / 2, middle), button["text"], ink, FONT, anchor="mm")
            self.top += BUTTON

    def _album(self, messages: list[Message]) -> None:
        columns, left = (2, PAD) if messages[0]["from"]["is_bot"] else (5, PHONE - PAD - BUBBLE)
        side = (BUBBLE - (columns - 1) * THIN) // columns
        album = Image.new("RGB", (BUBBLE, -(-len(messages) // columns) * (side + THIN) - THIN), WALL)
        for number, message in enumerate(messages):
            line, column = divmod(number, columns)
            with Image.open(self.folder / f"{message['photo'][-1]['file_id']}.jpg") as picture:
                tile = ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
            album.paste(tile, (column * (side + THIN), line * (side + THIN)))
        self.page.paste(album, (left, self.top), _rounded(album.size, RADIUS))
        self.top += album.height + PAD


def _rounded(size: tuple[int, int], radius: int) -> Image.Image:
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius, 255)
    return mask


def _width(text: str) -> float:
    signs = sum(SIGN_WIDTHS.get(letter, 0) for letter in text) * TEXT
    return signs + FONT.getlength("".join(letter for letter in text if letter not in SIGN_WIDTHS))


def _wrapped(paragraph: str, width: float) -> list[str]:
    lines = [""]
    for word in paragraph.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        lines[-1:] = [longer] if _width(longer) <= width else [lines[-1], word]
    return lines


def draw(folder: Path) -> Image.Image:
    """The phones of a conversation that was kept, side by side."""
    phones = [Phone(folder, title) for title in TITLES]
    for phone, messages in zip(phones, columns(*json.loads((folder / KEPT).read_text())), strict=True):
        phone.show(messages)
    size = (PHONE, max(phone.top for phone in phones))
    page = Image.new("RGB", (len(phones) * (PHONE + GAP) - GAP, size[1]), PAGE)
    for number, phone in enumerate(phones):
        left, whole = number * (PHONE + GAP), phone.page.crop((0, 0, *size))
        page.paste(whole, (left, 0), _rounded(size, 2 * RADIUS))
    return page.resize((page.width // SCALE, page.height // SCALE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1] if sys.argv[1:] else scratch).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / KEPT).exists():
            asyncio.run(play(folder))
        draw(folder).save(PICTURE, quality=84, optimize=True)
