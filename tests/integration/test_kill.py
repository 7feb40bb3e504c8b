"""kill -9 at any point: what was sent in is kept, and what was promised comes once.

One journey for each victim, killed again at every stage of it; `likeness run` starts it again by itself.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.installation import (
    COUNT,
    HEADSHOTS,
    Installation,
    has_button,
    pictures,
    repeated,
    running,
    selfies,
)
from tests.servers.telegram_people import Message, Person

pytestmark = [pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(240)]


# Where each victim has something in hand. Redis holds nothing that matters anywhere: half-way is enough.
MOMENTS = {
    "bot": {"intake", "checks", "training", "trained", "shooting", "delivery"},
    "worker": {"checks", "training", "trained", "shooting"},
    "engine": {"checks", "training", "shooting"},
    "redis": {"intake", "training", "shooting"},
}


class Killer:
    """Kills its victim the moment something is true."""

    def __init__(self, installation: Installation, person: Person, victim: str) -> None:
        self.installation, self.person, self.victim = installation, person, victim
        self.kills = 0
        self.may_come_again: dict[int, Message] = {}  # by id

    async def at(self, moment: str, table: str, condition: str, *, at_least: int = 1) -> None:
        """Wait for the moment, and kill if it is one of the victim's."""
        installation = self.installation
        what = f"{moment}: {at_least} x {table} where {condition}"

        def come() -> bool:
            return installation.count(table, condition) >= at_least

        if moment not in MOMENTS[self.victim]:
            return
        self.kills += 1
        look = self._look if self.victim == "bot" else None
        await installation.kill_when(self.victim, come, what, look)

    async def _look(self) -> None:
        for message in await self.installation.unacknowledged(self.person):
            self.may_come_again[message.id] = message


async def send_selfies(person: Person, killer: Killer) -> None:
    photos = selfies()
    await person.album(photos[:5])
    await killer.at("intake", "inbox", "source = 'platform'", at_least=3)
    for photo in photos[5:]:
        await person.photo(photo)
    await killer.at("checks", "photo", "status IN ('accepted', 'doubtful')", at_least=2)


def all_good(installation: Installation) -> Callable[[], bool]:
    return lambda: installation.count("photo", "status = 'accepted'") == COUNT


@pytest.mark.parametrize("victim", ["bot", "worker", "engine", "redis"])
async def test_the_journey_survives(victim: str, tmp_path: Path) -> None:
    async with running(tmp_path) as (installation, people, person):
        killer = Killer(installation, person, victim)
        await person.text("/start")
        await person.press("consent_yes", await person.wait_for(has_button("consent_yes"), timeout=60))
        await send_selfies(person, killer)
        await installation.wait_for(all_good(installation), "all verdicts")
        await person.press("train", await person.wait_for(has_button("train"), timeout=60))
        await killer.at("training", "job", "kind = 'train' AND state = 'running'")
        await killer.at("trained", "adapter", "status = 'ready'")  # but perhaps not told yet
        await person.wait_for(has_button("style"), timeout=90)
        await person.text("/headshot linkedin style")
        await killer.at("shooting", "job", "kind = 'shoot' AND state = 'running'")
        await killer.at("delivery", "outbox", "kind = 'headshot' AND state = 'sent'")
        await person.text("/status")  # said while it may be down
        await installation.wait_for(
            lambda: installation.count("outbox", "kind = 'headshot' AND state = 'sent'") == HEADSHOTS,
            "the headshots",
        )
        await installation.wait_for(installation.quiet, "everything to be out")

        got = await pictures(people, person)
        assert len(got) == HEADSHOTS
        again = killer.may_come_again.values()
        assert sum(got.values()) - len(got) <= sum(1 for message in again if message.photo)
        messages = await person.messages()
        assert set(repeated(messages)) <= {message.text for message in again}
        assert all(count == 2 for count in repeated(messages).values())
        assert any(has_button("style")(message) for message in messages)
        assert any(has_button("originals")(message) for message in messages)
        assert installation.count("photo", "1") == COUNT
        assert installation.count("adapter", "status = 'ready'") == 1
        assert killer.kills == len(MOMENTS[victim])
