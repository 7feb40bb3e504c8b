"""What people wrote, made safe to stand inside our sentences; and numbers as people say them. Pure."""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

QUOTED_MAX = 60
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
_JOINER = "\u200d"
_NOT_SHOWN = {
    "Cc",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
}  # controls, halves of characters, private and unassigned ones


def quote(text: str, longest: int = QUOTED_MAX) -> str:
    """Words of a person: on one line, cut to a length, their writing direction kept to themselves."""
    shown = (sign for sign in " ".join(text[: 4 * longest].split()) if _is_shown(sign))
    line = " ".join("".join(shown).split())
    if len(line) > longest:
        line = _cut(line, longest) + "…"
    return f"{FIRST_STRONG_ISOLATE}{line or '…'}{POP_ISOLATE}"


def _is_shown(sign: str) -> bool:
    """Marks of direction (Cf) would reach beyond the quote; the joiner holds emoji together."""
    kind = unicodedata.category(sign)
    return sign == _JOINER or kind not in _NOT_SHOWN | {"Cf"}


def _cut(line: str, longest: int) -> str:
    """Not through an emoji or a letter with its marks."""
    end = longest
    while end > longest // 2 and (_belongs_to_previous(line[end]) or line[end - 1] == _JOINER):
        end -= 1
    return line[:end].rstrip()


def _belongs_to_previous(sign: str) -> bool:
    skin_tone = "\U0001f3fb" <= sign <= "\U0001f3ff"
    return sign == _JOINER or skin_tone or unicodedata.category(sign) in ("Mn", "Me", "Mc")


def plural(count: int, one: str, many: str = "") -> str:
    """`1 selfie`, `2 selfies`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """About how long, in words."""
    if seconds < 45:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {plural(max(minutes, 1), 'minute')}"
    return f"about {plural(round(seconds / 3600), 'hour')}"


def day(at: float) -> str:
    """A date for a time in seconds since the epoch."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%B %Y}"


def numbers(values: Iterable[int]) -> str:
    """`1-4, 6`."""
    runs: list[list[int]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(
        str(first) if first == last else f"{first}, {last}" if last == first + 1 else f"{first}-{last}"
        for first, last in runs
    )


def listing(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def hours(count: int) -> str:
    """Hours, in days where they are whole days and more than two."""
    return plural(count // 24, "day") if count > 48 and count % 24 == 0 else plural(count, "hour")


def lines(*parts: str | None) -> str:
    """One below the other; None is a part that fell away, an empty one a blank line."""
    return "\n".join(part for part in parts if part is not None).strip("\n")
