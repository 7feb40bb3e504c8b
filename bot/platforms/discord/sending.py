"""An outbox item, or an album, as calls to Discord: by interaction token while one lives, else by message.

Whatever is for one person alone goes by the token of something they just did there, else as a direct message;
where they take none, a line without content and with a button is left in the channel: its click brings a
token, and the item, which waited, goes out by that. What everybody may see goes to the channel.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import discord

from bot.conversation.types import Button
from bot.errors import SendImpossible, SendRefused
from bot.platforms.base import Outgoing, Receipt
from bot.platforms.discord.faults import FAULTS, is_dead_token, is_gone, is_unreachable, send_error
from bot.platforms.discord.markup import Message, messages, view_of
from bot.platforms.discord.reach import Reach, Reply
from bot.texts import label, render

CHANNEL, TOKEN = "channel", "token"  # kinds of receipt: how a message is edited later

log = logging.getLogger(__name__)


class Way(Protocol):
    """Somewhere to put messages."""

    async def post(self, message: Message) -> str:
        """Post it; the receipt to edit it by."""


class Sender:
    """Sends for one bot. `client` gives the client that is connected just now."""

    def __init__(self, client: Callable[[], discord.Client], reach: Reach) -> None:
        self._client, self._reach = client, reach
        self._steps_done: dict[str, int] = {}  # by nonce, of items that stopped on their way

    async def send(self, items: Sequence[Outgoing]) -> list[Receipt]:
        """Send one item, or pictures as one album; see `Platform.send`."""
        parts, head = messages(items), items[0]
        if any((item.place, item.whisper) != (head.place, head.whisper) for item in items):
            raise SendImpossible("not an album")
        try:
            receipt = await self._edited(head, parts) or await self._posted(head, parts)
            if head.replaces:
                await self._delete(head.replaces)
        except FAULTS as error:
            raise send_error(error) from None
        lasting = len(parts) == 1 and not parts[0].files
        return [Receipt(receipt if lasting else "") for _ in items]

    async def tidy(self, seconds: float) -> None:
        """Take away "is thinking..." where nothing replaced it for so long."""
        for reply, message_id in self._reach.left_thinking(seconds):
            self._reach.answered(reply)
            with suppress(*FAULTS):
                await self._webhook(reply.application, reply.token).delete_message(message_id)

    # ------------------------------------------------------------ edits

    async def _edited(self, item: Outgoing, parts: Sequence[Message]) -> str:
        """The receipt if the card shows its new content now; empty where it must be posted anew.

        What answers a command or a form takes the place of "is thinking...", and the old card goes.
        """
        if not item.edit or len(parts) > 1 or parts[0].files:
            return ""
        reply = self._reach.own(item.reply)
        if reply and await self._reach.thinking(reply):
            posted = await self._posted(item, parts)
            await self._delete(item.edit)
            return posted
        try:
            await self._message(item.edit).edit(**parts[0].changes())
        except discord.HTTPException as error:
            if not is_gone(error):
                raise
            return ""
        return item.edit

    async def _delete(self, receipt: str) -> None:
        with suppress(*FAULTS):
            await self._message(receipt).delete()

    def _message(self, receipt: str) -> Any:
        """A handle with `edit` and `delete` for a message that was posted before."""
        kind, where, rest = receipt.split("/", 2)
        if kind == CHANNEL:
            return self._client().get_partial_messageable(int(where)).get_partial_message(int(rest))
        token, _, message_id = rest.rpartition("/")
        return _ByToken(self._webhook(where, token), int(message_id))

    # ------------------------------------------------------------ new messages

    async def _posted(self, head: Outgoing, parts: Sequence[Message]) -> str:
        """By token where only this person may see it or where they wait for it, else as a plain message:
        that one knows a nonce, and can be edited for ever. Each is the way out where the other is closed."""
        whisper = head.whisper and not head.place.private
        reply = self._reach.token(head.reply, head.user_id, head.place.chat_id)
        if reply and (whisper or await self._is_awaited(reply, head)):
            if receipt := await self._answered(reply, head, parts):
                return receipt
            reply = None
        if whisper or (head.place.private and not reply):
            return await self._privately(head, parts)
        try:
            return await self._walk(head, await self._plain_way(head), parts)
        except discord.HTTPException as error:
            if not is_unreachable(error):
                raise
        answered = await self._answered(reply, head, parts) if reply else ""
        return answered or await self._privately(head, parts)

    async def _is_awaited(self, reply: Reply, head: Outgoing) -> bool:
        """The person looks at "is thinking..."; in direct messages perhaps since before a restart."""
        return bool(await self._reach.thinking(reply)) or (
            head.place.private and not self._reach.is_known(reply)
        )

    async def _plain_way(self, head: Outgoing) -> Way:
        if head.place.private:
            return _Channel(await self._client().create_dm(discord.Object(int(head.user_id))))
        return _Channel(self._channel(head.place.chat_id))

    async def _answered(self, reply: Reply, head: Outgoing, parts: Sequence[Message]) -> str:
        """The receipt of an answer by token; empty if that is dead.

        The first answer replaces "is thinking...", which on a server is seen by this person alone: what
        everybody may see must not, so the waiting line is taken away first.
        """
        webhook = self._webhook(reply.application, reply.token)
        try:
            thinking = await self._reach.thinking(reply)
            if thinking and not (head.place.private or head.whisper):
                with suppress(discord.NotFound):  # dismissed by the person
                    await webhook.delete_message(thinking)
                self._reach.answered(reply)
            receipt = await self._walk(
                head, _Answers(webhook, head.whisper and not head.place.private), parts
            )
        except discord.HTTPException as error:
            if not is_dead_token(error):
                raise
            self._reach.died(reply)
            return ""
        self._reach.answered(reply)
        return receipt

    async def _privately(self, head: Outgoing, parts: Sequence[Message]) -> str:
        """As a direct message. Closed ones are not tried again before the person does something."""
        if self._reach.is_closed(head.user_id):
            raise SendRefused("direct messages are closed")
        try:
            direct = await self._client().create_dm(discord.Object(int(head.user_id)))
            return await self._walk(head, _Channel(direct), parts)
        except discord.HTTPException as error:
            if not is_unreachable(error):
                raise
        if not head.place.private:
            await self._leave_word(head)
        self._reach.closed(head.user_id)
        raise SendRefused("direct messages are closed")

    async def _leave_word(self, head: Outgoing) -> None:
        """In the channel, without any content: that there is news, and the button whose click fetches it."""
        words = render("notice_news", {"name": f"<@{head.user_id}>"})
        view = view_of([[Button(label("news"), "status")]])
        mentions = discord.AllowedMentions(users=[discord.Object(int(head.user_id))])
        try:
            await self._channel(head.place.chat_id).send(words, view=view, allowed_mentions=mentions)  # type: ignore[arg-type]
        except discord.HTTPException as error:
            if not is_unreachable(error):
                raise
            log.info("neither direct messages nor the channel reach a person")

    async def _walk(self, head: Outgoing, way: Way, parts: Sequence[Message]) -> str:
        """Post the parts that are left; the receipt of the last."""
        receipt = ""
        for number in range(self._steps_done.get(head.nonce, 0), len(parts)):
            receipt = await way.post(parts[number])
            self._steps_done[head.nonce] = number + 1
        self._steps_done.pop(head.nonce, None)
        return receipt

    def _channel(self, channel_id: str) -> discord.PartialMessageable:
        return self._client().get_partial_messageable(int(channel_id))

    def _webhook(self, application: str, token: str) -> discord.Webhook:
        """discord.py's own way to speak by an interaction's token (`Interaction.followup`)."""
        payload: Any = {"id": application, "type": discord.WebhookType.application.value, "token": token}
        return discord.Webhook.from_state(data=payload, state=self._client()._connection)


class _Channel:
    """A channel, or somebody's direct messages."""

    def __init__(self, channel: discord.abc.Messageable) -> None:
        self._to = channel

    async def post(self, message: Message) -> str:
        sent = await self._to.send(**message.contents(), nonce=message.nonce, suppress_embeds=True)
        return f"{CHANNEL}/{sent.channel.id}/{sent.id}"


class _Answers:
    """Answers to an interaction. Discord knows no nonce here: a lost answer is repeated."""

    def __init__(self, webhook: discord.Webhook, ephemeral: bool) -> None:
        self._webhook, self._ephemeral = webhook, ephemeral

    async def post(self, message: Message) -> str:
        sent = await self._webhook.send(
            **message.contents(), ephemeral=self._ephemeral, suppress_embeds=True, wait=True
        )
        if self._ephemeral or sent.flags.ephemeral:
            return f"{TOKEN}/{self._webhook.id}/{self._webhook.token}/{sent.id}"
        return f"{CHANNEL}/{sent.channel.id}/{sent.id}"


class _ByToken:
    """A message that only its interaction's token can change."""

    def __init__(self, webhook: discord.Webhook, message_id: int) -> None:
        self._webhook, self._id = webhook, message_id

    async def edit(self, **changes: Any) -> None:
        await self._webhook.edit_message(self._id, **changes)

    async def delete(self) -> None:
        await self._webhook.delete_message(self._id)
