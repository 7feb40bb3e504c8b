"""What people do on Discord: stored first, answered within three seconds, handled afterwards.

Discord wants a first answer to an interaction within 3 s and sends nothing twice. So the first answer waits
for the commit, but at most `PATIENCE_SECONDS`: after that it goes out while the commit is still awaited, and
if that fails in the end, the person is told. A process that dies before its commit leaves the interaction
without any answer, and Discord tells the person that it failed; only a process that dies during a slow commit
leaves "is thinking..." behind.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import discord

from bot.platforms.base import Accept, RawUpdate
from bot.platforms.discord import capturing
from bot.platforms.discord.faults import FAULTS
from bot.platforms.discord.form import photo_form
from bot.platforms.discord.reach import TOKEN_SECONDS, Reach
from bot.texts import render

PATIENCE_SECONDS = 1.5
UPLOAD = "v1:upload:"  # the button that opens the form

log = logging.getLogger(__name__)


class Receiver:
    """Takes the events of one client. `begin` comes before the first event."""

    def __init__(self, reach: Reach, clock: Callable[[], float] = time.time) -> None:
        self._reach, self._clock = reach, clock
        self._accept: Accept | None = None
        self._order = asyncio.Lock()  # events are stored in the order in which they came
        self._failed: asyncio.Future[None] | None = None

    def begin(self, accept: Accept) -> asyncio.Future[None]:
        """Store with `accept` from now on. The result becomes the failure of `accept`, if it ever fails."""
        self._accept, self._failed = accept, asyncio.get_running_loop().create_future()
        return self._failed

    async def interaction(self, interaction: discord.Interaction[Any]) -> None:
        """A command, a button or a form."""
        data: dict[str, Any] = dict(interaction.data or {})
        custom_id = str(data.get("custom_id", ""))
        if interaction.type is discord.InteractionType.component and custom_id.startswith(UPLOAD):
            await _answer(interaction.response.send_modal(photo_form()))
            return
        reply = capturing.reply_to(interaction, self._clock() + TOKEN_SECONDS)
        update = capturing.interaction_update(interaction, reply)
        thinking = self._reach.opened(reply, str(interaction.user.id), str(interaction.channel_id))
        storing = asyncio.create_task(self._store(update))
        storing.add_done_callback(self._note_failure)
        await asyncio.wait({storing}, timeout=PATIENCE_SECONDS)
        answered = await self._acknowledge(interaction)
        if answered is None:
            self._reach.died(reply)
        thinking.set_result(answered or None)
        await asyncio.wait({storing})
        if not storing.cancelled() and storing.exception() and answered is not None:
            await _answer(interaction.followup.send(render("sorry", {}), ephemeral=True))

    async def message(self, message: discord.Message) -> None:
        """A direct message."""
        update = capturing.message_update(message)
        if update:
            self._reach.heard_from(str(message.author.id))
            storing = asyncio.create_task(self._store(update))
            storing.add_done_callback(self._note_failure)
            await asyncio.wait({storing})

    async def _store(self, update: RawUpdate) -> None:
        assert self._accept is not None
        async with self._order:
            await self._accept(update)

    def _note_failure(self, storing: asyncio.Task[None]) -> None:
        failure = None if storing.cancelled() else storing.exception()
        if failure and self._failed and not self._failed.done():
            self._failed.set_exception(failure)

    async def _acknowledge(self, interaction: discord.Interaction[Any]) -> int | None:
        """First answer: the id of "is thinking..."; 0 for a button, which needs none; None if too late."""
        pressed = interaction.type is discord.InteractionType.component
        whisper = not capturing.is_private(interaction)
        call = (
            interaction.response.defer()
            if pressed
            else interaction.response.defer(ephemeral=whisper, thinking=True)
        )
        done = await _answer(call)
        return (done.message_id if done else 0) or 0 if done is not False else None


async def _answer(call: Any) -> Any:
    """The result of a call to Discord that nobody can repeat; False if it failed."""
    try:
        return await call
    except FAULTS as error:
        log.warning("an interaction was not answered in time: %s", type(error).__name__)
        return False
