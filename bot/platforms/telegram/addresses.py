"""Where things are on Telegram, as text: chats, topics of a forum, links into the private chat. Pure."""

import base64
import re

ENCODED = "b64-"  # opens a deep-link payload that holds characters which Telegram does not take
_PAYLOAD = re.compile(r"[A-Za-z0-9_-]{1,64}")


def place_id(chat_id: int, topic: int | None) -> str:
    """A `Place.chat_id`: the chat, and the topic's thread id where a forum has topics."""
    return f"{chat_id}_{topic}" if topic else str(chat_id)


def chat_and_topic(chat_id: str) -> tuple[int, int | None]:
    """The reverse of `place_id`."""
    chat, _, topic = chat_id.partition("_")
    return int(chat), int(topic) if topic else None


def deep_link(bot_username: str, payload: str) -> str:
    """The address that opens the private chat and brings `payload` along in /start."""
    return f"https://t.me/{bot_username}" + (f"?start={packed(payload)}" if payload else "")


def packed(payload: str) -> str:
    """`payload` in the characters that a deep link may hold; at most 45 bytes need packing."""
    if _PAYLOAD.fullmatch(payload) and not payload.startswith(ENCODED):
        return payload
    return ENCODED + base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")


def unpacked(payload: str) -> str:
    """What `packed` was given. A payload that somebody made up is returned as it is."""
    if not payload.startswith(ENCODED):
        return payload
    code = payload.removeprefix(ENCODED)
    try:
        return base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)).decode()
    except ValueError:
        return payload
