"""The whole journey through real processes: photos in a chat become headshots in that chat."""

from pathlib import Path

import pytest

from tests.integration.installation import HEADSHOTS, has_button, pictures, repeated, running, selfies

pytestmark = [pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(180)]


async def test_selfies_become_headshots(tmp_path: Path) -> None:
    async with running(tmp_path) as (installation, people, person):
        await person.text("/start")
        await person.press("consent_yes", await person.wait_for(has_button("consent_yes"), timeout=60))
        photos = selfies()
        await person.album(photos[:4])
        for photo in photos[4:6]:
            await person.photo(photo)
        for number, photo in enumerate(photos[6:]):
            await person.document(photo, f"{number}.jpg", "image/jpeg")
        await person.press("train", await person.wait_for(has_button("train"), timeout=90))
        await person.wait_for(has_button("style"), timeout=90)
        await person.text("/headshot linkedin style")
        await person.wait_for(lambda message: message.photo, timeout=90)
        await installation.wait_for(installation.quiet, "everything to be out")

        got = await pictures(people, person)
        assert len(got) == HEADSHOTS
        assert set(got.values()) == {1}
        assert repeated(await person.messages()) == {}
        assert installation.count("headshot", "1") == HEADSHOTS
        assert installation.rows("SELECT error FROM inbox WHERE error != ''") == []
        (shoot,) = installation.rows("SELECT id FROM shoot")[0]
        await person.press(f"v1:not_me:{shoot}", await person.wait_for(has_button("not_me"), timeout=60))
        which = await person.wait_for("Which one is not you", timeout=60)
        await person.press(f"v1:not_me:{shoot}.1", which)
        await person.press("again", await person.wait_for("keep away from number 2", timeout=60))
        await installation.wait_for(
            lambda: installation.count("headshot", "1") == 2 * HEADSHOTS, "the next ones"
        )
        assert installation.rows("SELECT liked FROM opinion") == [(0,)]
        (payload,) = installation.rows(
            "SELECT payload FROM job WHERE kind = 'shoot' ORDER BY created_at DESC LIMIT 1"
        )
        assert '"disliked": ["s' in payload[0]
        await installation.wait_for(installation.quiet, "everything to be out")
        log = installation.log.read_text()
        assert "linkedin style" not in log
        assert '"level": "error"' not in log
