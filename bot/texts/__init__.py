"""Every sentence a person can read. Plain text: no markup, no format strings from people.

A sentence has a key. It is a template, or a function of its values where it has parts that come and go.
"""

from collections.abc import Mapping
from typing import Any

from bot.texts.cards import CARDS
from bot.texts.labels import LABELS
from bot.texts.quoting import quote
from bot.texts.sentences import SENTENCES

__all__ = ["CONSENT_VERSION", "KEYS", "label", "quote", "render"]

CONSENT_VERSION = 1
"""Raise it when the consent card promises something else: everybody is asked again then."""

TEXT_MAX = 2000
"""Characters that every platform takes in one message."""

KEYS = frozenset(SENTENCES) | frozenset(CARDS)

WRITTEN_BY_PEOPLE = ("typed", "name", "title")


def render(key: str, values: Mapping[str, Any], language: str = "") -> str:
    """The sentence of that key. Raises KeyError for an unknown key or a missing value.

    `language` is the person's IETF tag; there is English so far.
    """
    safe = {name: quote(str(value)) if name in WRITTEN_BY_PEOPLE else value for name, value in values.items()}
    text = CARDS[key](safe) if key in CARDS else SENTENCES[key].format_map(safe)
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1].rstrip() + "…"


def label(key: str, **values: object) -> str:
    """What stands on a button."""
    return LABELS[key].format_map(values)
