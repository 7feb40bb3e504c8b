"""From typed words to a wish for headshots: a closed grammar over the catalogue's phrases.

Knows phrases and what they mean; knows no prompt. Case, accents, plurals and punctuation do not matter.
What is not in the lists is reported as not understood and goes no further.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

MAX_TYPED = 400  # characters that are read at all
MAX_SEED = 2**31 - 1
MAX_COUNT = 100  # a larger number is no count
COUNT_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_TOKEN = re.compile(r"#[0-9a-fA-F]{6}\b|\w+|[^\w\s]")

Tokens = tuple[str, ...]
_BACKDROPS: frozenset[Tokens] = frozenset(
    (*kind, noun) for noun in ("background", "backdrop", "wall") for kind in ((), ("studio",), ("plain",))
)


@dataclass(frozen=True)
class StyleRequest:
    """A wish. `style` is an id, or empty where none was named; wishes are words of the catalogue.

    `count` is what was asked for, unbounded; None = as usual. `unknown` words were not understood and have no
    effect; a wish with `unsafe` words is to be refused.
    """

    style: str = ""
    outfit: str = ""
    outfit_colour: str = ""
    collar: str = ""
    background: str = ""
    background_colour: str = ""
    light: str = ""
    expression: str = ""
    crop: str = ""
    glasses: str = ""
    retouch: str = ""
    count: int | None = None
    seed: int | None = None
    unknown: tuple[str, ...] = ()
    unsafe: tuple[str, ...] = ()

    @property
    def wishes(self) -> tuple[str, ...]:
        """What was asked for beside the style, as a person would say it."""
        outfit = f"{self.outfit_colour} {self.outfit or 'outfit'}" if self.outfit_colour else self.outfit
        backdrop = f"{self.background_colour} background" if self.background_colour else self.background
        words = (outfit, self.collar, backdrop, self.light, self.expression, self.crop, self.glasses)
        return tuple(word for word in (*words, self.retouch) if word)

    @property
    def text(self) -> str:
        """The wish as it could be typed: parsed, it is the wish again, without what was not understood."""
        numbers = (
            str(self.count) if self.count else "",
            f"seed {self.seed}" if self.seed is not None else "",
        )
        return ", ".join(part for part in (self.style, *self.wishes, *numbers) if part)


@dataclass(frozen=True)
class UnknownStyle:
    """No style was found in what was typed. `nearest` are ids of styles to offer, best first."""

    typed: str
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Token:
    """A typed word: as typed, and folded for comparing."""

    typed: str
    folded: str


def tokens(text: str) -> tuple[Token, ...]:
    """The words of a text; punctuation is dropped, other signs (an emoji, say) count as words."""
    plain = text[:MAX_TYPED].replace("'", "").replace("’", "").replace("_", " ")
    found = (Token(word, fold(word)) for word in _TOKEN.findall(plain))
    return tuple(token for token in found if token.folded and not _is_punctuation(token.typed))


def fold(word: str) -> str:
    """Lower case, without accents, without a plural's s."""
    spread = unicodedata.normalize("NFKD", word.casefold())
    bare = "".join(letter for letter in spread if not unicodedata.combining(letter))
    bare = {"&": "and", "gray": "grey", "color": "colour", "colored": "coloured"}.get(bare, bare)
    return bare[:-1] if len(bare) > 3 and bare.endswith("s") and not bare.endswith("ss") else bare


def phrase(text: str) -> Tokens:
    """A phrase as the parser compares it."""
    return tuple(token.folded for token in tokens(text))


def _is_punctuation(sign: str) -> bool:
    """Also marks that change the sign before them, and invisible characters."""
    return len(sign) == 1 and sign != "&" and (sign in "=+" or unicodedata.category(sign)[0] in "PMCZ")


class Grammar:
    """The phrases of a catalogue.

    styles, colours: phrase -> id or word. words: kind (a field of StyleRequest) -> phrase -> word.
    filler, unsafe: phrases. hexes: colour -> red, green, blue.
    """

    def __init__(
        self,
        styles: Mapping[Tokens, str],
        words: Mapping[str, Mapping[Tokens, str]],
        colours: Mapping[Tokens, str],
        hexes: Mapping[str, tuple[int, int, int]],
        filler: Sequence[Tokens],
        unsafe: Sequence[Tokens],
    ) -> None:
        self.styles, self.colours, self.hexes = styles, colours, hexes
        self.words = {each: (kind, word) for kind, table in words.items() for each, word in table.items()}
        self.filler, self.unsafe = frozenset(filler), frozenset(unsafe)
        everything = [*styles, *self.words, *colours, *self.filler, *self.unsafe]
        self.longest = max((len(each) for each in everything), default=1)

    def read(self, text: str) -> StyleRequest:
        """The wish in a text. `style` is empty where none was named."""
        return _Reading(self, tokens(text), cut_short=len(text) > MAX_TYPED).request()

    def colour(self, said: Tokens) -> str:
        """The colour of this name or #RRGGBB, or an empty string."""
        if len(said) == 1 and said[0].startswith("#"):
            red, green, blue = (int(said[0][start : start + 2], 16) for start in (1, 3, 5))
            return min(
                self.hexes,
                key=lambda name: sum(
                    (a - b) ** 2 for a, b in zip(self.hexes[name], (red, green, blue), strict=True)
                ),
            )
        return self.colours.get(said, "")


class _Reading:
    """One text being read, from left to right, the longest phrase first."""

    def __init__(self, grammar: Grammar, said: Sequence[Token], *, cut_short: bool) -> None:
        self.grammar, self.said, self.at = grammar, said, 0
        self.found: dict[str, str | int] = {}
        self.unknown: list[str] = ["…"] if cut_short else []
        self.unsafe: list[str] = []
        self.lone_colour = ""

    def request(self) -> StyleRequest:
        while self.at < len(self.said):
            if not (self._number() or any(self._take(length) for length in self._lengths())):
                self.unknown.append(self.said[self.at].typed)
                self.at += 1
        self._settle_colour()
        known = {field.name for field in fields(StyleRequest)} & set(self.found)
        return StyleRequest(
            **{name: self.found[name] for name in known},  # type: ignore[arg-type]
            unknown=tuple(dict.fromkeys(self.unknown)),
            unsafe=tuple(dict.fromkeys(self.unsafe)),
        )

    def _lengths(self) -> Iterator[int]:
        yield from range(min(self.grammar.longest + 1, len(self.said) - self.at), 0, -1)

    def _take(self, length: int) -> bool:
        words = tuple(token.folded for token in self.said[self.at : self.at + length])
        if not (self._unsafe(words) or self._style(words) or self._coloured(words) or self._word(words)):
            return False
        self.at += length
        return True

    def _unsafe(self, words: Tokens) -> bool:
        if words in self.grammar.unsafe:
            self.unsafe.append(" ".join(token.typed for token in self.said[self.at : self.at + len(words)]))
        return words in self.grammar.unsafe

    def _coloured(self, words: Tokens) -> bool:
        """A colour with a garment or a background behind it."""
        if words in self.grammar.words:
            return False
        for split in range(1, len(words)):
            colour, rest = self.grammar.colour(words[:split]), words[split:]
            kind, word = self.grammar.words.get(rest, ("", ""))
            if colour and kind == "outfit":
                self.found |= {"outfit": word, "outfit_colour": colour}
                return True
            if colour and rest == ("outfit",):
                self.found["outfit_colour"] = colour
                return True
            if colour and rest in _BACKDROPS:
                self.found["background_colour"] = colour
                return True
        return False

    def _style(self, words: Tokens) -> bool:
        style = self.grammar.styles.get(words, "")
        if not style:
            return False
        if "style" not in self.found or self.found["style"] == style:
            self.found["style"] = style
            return True
        if words in self.grammar.words or self.grammar.colour(words):
            return False  # it may still be a wish
        self.unknown.append(" ".join(token.typed for token in self.said[self.at : self.at + len(words)]))
        return True

    def _word(self, words: Tokens) -> bool:
        if words in self.grammar.words:
            kind, word = self.grammar.words[words]
            self.found[kind] = word
        elif colour := self.grammar.colour(words):
            self.lone_colour = colour
        return words in self.grammar.words or words in self.grammar.filler or bool(self.grammar.colour(words))

    def _number(self) -> bool:
        word = self.said[self.at].folded
        if word == "seed" and self.at + 1 < len(self.said):
            seed = _number(self.said[self.at + 1].folded)
            if seed is not None and seed <= MAX_SEED:
                self.found["seed"] = seed
                self.at += 2
                return True
        count = _number(word.strip("x")) if word.strip("x") else None
        if word in COUNT_WORDS and len(self.said) > 1:
            count = COUNT_WORDS.index(word) + 1
        if count is None or not 1 <= count <= MAX_COUNT:
            return False
        self.found["count"] = count
        self.at += 1
        return True

    def _settle_colour(self) -> None:
        """A colour alone is the backdrop's where the backdrop is the style, else the outfit's."""
        if self.lone_colour:
            kind = "background_colour" if self.found.get("style") == "brand" else "outfit_colour"
            self.found.setdefault(kind, self.lone_colour)
        if "background_colour" in self.found and "background" in self.found:
            self.unknown.append(str(self.found.pop("background")))  # a backdrop in a colour, or a place


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() and len(word) <= 12 else None
