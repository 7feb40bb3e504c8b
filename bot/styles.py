"""The catalogue of styles: data in `styles.toml`, checked when it is read, and the prompts made of it."""

import difflib
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bot.errors import ConfigError
from bot.style_requests import Grammar, StyleRequest, Tokens, UnknownStyle, fold, phrase

__all__ = ["Catalogue", "Style", "StyleRequest", "UnknownStyle"]

SHIPPED = Path(__file__).with_name("styles.toml")
AS_IN_PHOTOS = "as in photos"
NEAREST = 6
_OWN_COLOUR = ("white coat", "blue scrubs")
_PLAIN = "studio background"
_Word = Field(max_length=80, pattern=r"^[^{}\n]*$")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Style(_Table):
    """One style. Parts are words of a prompt; `*_detail` is for bases that know more than simple words."""

    id: str = Field(pattern=r"^[a-z]+(-[a-z]+)*$", max_length=20)
    label: str = Field(min_length=1, max_length=24)
    group: Literal["studio", "work", "professions", "outside"]
    description: str = Field(min_length=1, max_length=70)
    aliases: tuple[str, ...] = ()
    monochrome: bool = False
    outfit: str = _Word
    outfit_colour: str = ""
    outfit_detail: str = Field(default="", max_length=80)
    background: str = _Word
    background_colour: str = ""
    background_detail: str = Field(default="", max_length=80)
    light: str = _Word
    expression: str = _Word
    crop: str = _Word

    @property
    def phrases(self) -> tuple[str, ...]:
        """Everything that names this style."""
        return (self.id, self.label, *self.aliases)


class Colour(_Table):
    """A colour word and the colour it stands for."""

    hex: str = Field(pattern=r"^#[0-9a-f]{6}$")
    aliases: tuple[str, ...] = ()

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0 to 255."""
        return int(self.hex[1:3], 16), int(self.hex[3:5], 16), int(self.hex[5:7], 16)


Words = dict[str, tuple[str, ...]]


class Vocabulary(_Table):
    """Words that may follow a style, by what they are about: prompt words -> ways to say them."""

    outfit: Words
    collar: Words
    background: Words
    light: Words
    expression: Words
    crop: Words
    glasses: Words
    retouch: Words


class Phrases(_Table):
    """Words around a style: without a meaning, and refused."""

    filler: tuple[str, ...]
    unsafe: tuple[str, ...]


class Contents(_Table):
    """A whole `styles.toml`."""

    popular: tuple[str, ...]
    style: tuple[Style, ...] = Field(min_length=1)
    words: Vocabulary
    colours: dict[str, Colour]
    phrases: Phrases

    @model_validator(mode="after")
    def _each_name_once(self) -> "Contents":
        owners: dict[Tokens, str] = {}
        for style in self.style:
            for words in map(phrase, style.phrases):
                if not words or owners.setdefault(words, style.id) != style.id:
                    raise ValueError(f"{' '.join(words)!r} names {owners.get(words)} and {style.id}")
        if len({style.id for style in self.style}) < len(self.style):
            raise ValueError("an id stands twice")
        if missing := set(self.popular) - {style.id for style in self.style}:
            raise ValueError(f"popular names unknown styles: {', '.join(sorted(missing))}")
        return self


class Catalogue:
    """The styles, in the order of the file. Immutable."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self.styles = contents.style
        self._by_id = {style.id: style for style in contents.style}
        self._prompt_words = {
            kind: {said[0]: prompt for prompt, said in table.items()}
            for kind, table in contents.words.model_dump().items()
        }

    @classmethod
    def load(cls, path: Path | None = None) -> "Catalogue":
        """Read a catalogue; None = the shipped one. Raises ConfigError naming what is wrong."""
        chosen = path or SHIPPED
        try:
            return cls(Contents.model_validate(tomllib.loads(chosen.read_text(encoding="utf-8"))))
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            problem = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
            raise ConfigError(str(chosen), problem, "See docs/adding-a-style.md") from error

    @property
    def popular(self) -> tuple[Style, ...]:
        """The styles to offer first."""
        return tuple(self._by_id[style] for style in self._contents.popular)

    def get(self, style_id: str) -> Style | None:
        """The style of this id, or None."""
        return self._by_id.get(style_id)

    def parse(self, text: str) -> StyleRequest | UnknownStyle:
        """What a person wishes. A text without a style but with words not understood is an UnknownStyle."""
        request = self._grammar.read(text)
        if request.style or request.unsafe or not request.unknown:
            return request
        near = self.search(" ".join(request.unknown), NEAREST) or list(self.popular)
        return UnknownStyle(text, tuple(style.id for style in near))

    def search(self, typed: str, limit: int = 25) -> list[Style]:
        """Styles for half a name or a misspelt one, best first; everything for an empty text."""
        wanted = " ".join(phrase(typed))
        if not wanted:
            return [] if typed.strip() else list(self.styles[:limit])
        scored = sorted(((-self._closeness(style, wanted), i) for i, style in enumerate(self.styles)))
        return [self.styles[i] for score, i in scored if score <= -0.6][:limit]

    def prompt(self, request: StyleRequest) -> str:
        """A prompt with `{subject}`. Raises KeyError unless `request.style` is an id of this catalogue."""
        style = self._by_id[request.style]
        said = {kind: table.get(getattr(request, kind), "") for kind, table in self._prompt_words.items()}
        glasses = said["glasses"] if said["glasses"] != AS_IN_PHOTOS else ""
        parts = (
            "black and white" if style.monochrome else "",
            self._outfit(style, said["outfit"], request.outfit_colour, said["collar"]),
            self._background(style, said["background"], request.background_colour),
            said["light"] or style.light,
            said["expression"] or style.expression,
            glasses,
            said["crop"] or style.crop,
            style.outfit_detail if not (said["outfit"] or said["collar"]) else "",
            style.background_detail if not (said["background"] or request.background_colour) else "",
            said["retouch"] or "natural skin texture",
        )
        return ", ".join(("professional headshot of {subject}", *(part for part in parts if part)))

    @staticmethod
    def _outfit(style: Style, outfit: str, colour: str, collar: str) -> str:
        tint = "" if outfit in _OWN_COLOUR else colour or ("" if style.monochrome else style.outfit_colour)
        garment = f"{tint} {outfit or style.outfit}".strip()
        article = "" if garment.endswith("s") else "an " if garment[0] in "aeiou" else "a "
        added = {"tie": " and tie"}.get(collar, f", {collar}" if collar else "")
        return f"wearing {article}{garment}{added}"

    @staticmethod
    def _background(style: Style, background: str, colour: str) -> str:
        if colour:
            return f"{colour} {_PLAIN}"
        return background or f"{style.background_colour} {style.background}".strip()

    def _closeness(self, style: Style, wanted: str) -> float:
        return max(_alike(wanted, " ".join(phrase(name))) for name in style.phrases)

    @cached_property
    def _grammar(self) -> Grammar:
        contents = self._contents
        words = {
            kind: {phrase(way): said[0] for prompt, said in table.items() for way in (prompt, *said)}
            for kind, table in contents.words.model_dump().items()
        }
        return Grammar(
            styles={phrase(name): style.id for style in contents.style for name in style.phrases},
            words=words,
            colours={
                phrase(way): name for name, each in contents.colours.items() for way in (name, *each.aliases)
            },
            hexes={name: each.rgb for name, each in contents.colours.items()},
            filler=[phrase(each) for each in contents.phrases.filler],
            unsafe=[phrase(each) for each in contents.phrases.unsafe],
        )


def _alike(wanted: str, name: str) -> float:
    """0 to 1: 1 for the same, high where one begins or holds the other, else by common letters."""
    if name.startswith(wanted):
        return 1.0 if name == wanted else 0.95
    if any(word.startswith(wanted) for word in name.split()):
        return 0.9
    close = difflib.SequenceMatcher(None, wanted, name).ratio()
    words = (difflib.SequenceMatcher(None, each, name).ratio() for each in wanted.split() if len(each) > 3)
    return max(close, 0.0, *words) if len(fold(wanted)) > 1 else 0.0
