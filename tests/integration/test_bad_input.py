"""Whatever a person does wrong is answered with what to do instead, and harms nothing: in real processes."""

import asyncio
from pathlib import Path

import pytest

from tests.engine.endless_base import make_endless_tiny
from tests.images import OTHERS, as_bytes, cartoon, group_photo, landscape, png_bomb, selfie
from tests.integration.installation import COUNT, Installation, has_button, running, selfies
from tests.servers.telegram_people import Person

pytestmark = [pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(240)]

BEFORE_CONSENT = ("/headshot linkedin", "/train", "/selfies")
BAD_PHOTOS = {
    "an empty file": b"",
    "too many pixels": png_bomb(),
    "more than one face": as_bytes(group_photo()),
    "I see no face": as_bytes(landscape()),
    "like a drawing": as_bytes(cartoon(), "PNG"),
    "a damaged file": as_bytes(selfie(3))[:20_000],
    "a moving picture": as_bytes(selfie(4), "WEBP", save_all=True, append_images=[selfie(5)], duration=99),
    "I cannot read this kind of file": b"%PDF-1.7 in disguise",
    "too few pixels": as_bytes(selfie(6).resize((90, 90))),
}
ODD_WORDS = {
    "/headshot zzqx": "do not know the style ⁨zzqx⁩. Did you mean",
    "/headshot lnkedin": "Did you mean",
    "/headshot 🦄🦄": "do not know the style ⁨🦄🦄⁩",
    "/headshot صورة مهنية": "do not know the style ⁨صورة مهنية⁩",
    "/headshot linkedin": "I need a model of you first",
    "/dance": "do not know the command ⁨/dance⁩",
    "😀": "not much of a talker",
    "שלום, מה שלומך?": "not much of a talker",
    "/train": "Not quite yet",
    "/cancel": "Nothing is running",
    "/remove 99": "no photo ⁨99⁩",
    "/remove": "Tell me which one",
}


async def answered(person: Person, words: str, wanted: str) -> None:
    """Say something, and read the answer below it."""
    said = await person.text(words)
    await person.wait_for(lambda message: message.id > said and wanted in message.text, timeout=30)


async def test_every_mistake_is_answered_and_nothing_is_lost(tmp_path: Path) -> None:
    # Its training must not be over before everything is deleted, however fast the machine is.
    make_endless_tiny(tmp_path / "endless")
    async with running(tmp_path, str(tmp_path / "endless")) as (installation, _, person):
        await before_consent(installation, person)
        await person.press("consent_yes", await person.wait_for(has_button("consent_yes")))
        await person.wait_for("Now send me selfies")
        for words, wanted in ODD_WORDS.items():
            await answered(person, words, wanted)
        await person.document(b"%PDF-1.7", "cv.pdf", "application/pdf")
        await person.wait_for("That is a PDF", timeout=30)
        await person.other("sticker", {"width": 512, "height": 512, "is_animated": False, "is_video": False,
                                       "type": "regular"})  # fmt: skip
        await person.wait_for("That is a sticker", timeout=30)
        await bad_photos(installation, person)
        await forty_at_once(person)
        await second_training_and_deletion(installation, person)
        assert installation.rows("SELECT error FROM inbox WHERE error != ''") == []
        assert '"level": "error"' not in installation.log.read_text()
        assert installation.count("outbox", "state = 'dead'") == 0


async def before_consent(installation: Installation, person: Person) -> None:
    for words in BEFORE_CONSENT:
        said = await person.text(words)
        await person.wait_for(
            lambda message, said=said: message.id > said and has_button("consent_yes")(message), timeout=60
        )
    await person.photo(selfies()[0])
    await person.wait_for("keep no photo", timeout=30)
    await installation.wait_for(installation.quiet, "everything to be out")
    assert installation.count("photo", "1") == 0


async def bad_photos(installation: Installation, person: Person) -> None:
    for number, data in enumerate(BAD_PHOTOS.values()):
        await person.document(data, f"{number}.jpg", "image/jpeg")
    for words in BAD_PHOTOS:
        await person.wait_for(words, timeout=60)
    await installation.wait_for(installation.quiet, "all verdicts")
    cards = [message.text for message in await person.messages() if "Your selfies" in message.text]
    assert len(cards) == 1
    assert f"at least {COUNT} more" in cards[0]
    assert installation.count("photo", "status = 'accepted'") == 0


async def forty_at_once(person: Person) -> None:
    """Four albums of ten: good ones, the same ones again, and somebody else."""
    others = [path.read_bytes() for path in OTHERS]
    await asyncio.gather(*(person.album((selfies() + others)[:10]) for _ in range(4)))
    await person.wait_for(lambda message: f"{COUNT} of {COUNT} good" in message.text, timeout=90)
    card = await person.wait_for(lambda message: "⏳" not in message.text and "good" in message.text)
    assert "30 photos came a second time" in card.text
    assert "somebody else" in card.text


async def second_training_and_deletion(installation: Installation, person: Person) -> None:
    await person.press("train", await person.wait_for(has_button("train")))
    await installation.wait_for(
        lambda: installation.count("job", "kind = 'train' AND state = 'running'"), "the training"
    )
    await answered(person, "/train", "One training at a time")
    await answered(person, "/deleteme", "What is being made now will be stopped")
    await person.press("forget_yes", await person.wait_for(has_button("forget_yes")))
    await person.wait_for("1 in the making, stopped", timeout=30)
    await installation.wait_for(installation.quiet, "everything to be out")
    for table in ("photo", "adapter", "job", "headshot", "shoot"):
        assert installation.count(table, "1") == 0, table
    await installation.wait_for(lambda: left_files(installation) == [], "every file to be deleted")


def left_files(installation: Installation) -> list[Path]:
    """Photos, adapters and scratch files that are still on the disk."""
    folders = (installation.data_dir / "blobs", installation.data_dir / "work")
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
