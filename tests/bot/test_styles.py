"""The catalogue: every style works, every way to say it leads there, prompts hold what was wished."""

import re
import tomllib
from pathlib import Path

import pytest

from bot.errors import ConfigError
from bot.styles import SHIPPED, Catalogue, Style, StyleRequest, UnknownStyle

STYLES = Catalogue.load()
IDS = [
    "linkedin",
    "corporate",
    "studio-grey",
    "studio-white",
    "studio-black",
    "brand",
    "bw",
    "editorial",
    "executive",
    "office",
    "tech",
    "boardroom",
    "lobby",
    "home-office",
    "medical",
    "legal",
    "academic",
    "realtor",
    "creative",
    "speaker",
    "trades",
    "outdoor",
    "urban",
    "cafe",
]
# A prompt never speaks of a person's face, body, age, presentation or origin.
PERSONAL = re.compile(
    r"\b(man|woman|male|female|boy|girl|he|she|his|her|young|old|slim|thin|fat|muscular|asian|african|european|"
    r"caucasian|latin|skin colou?r|pretty|handsome|beautiful|attractive|eyes|nose|lips|hair|beard)\b"
)


def prompt(typed: str) -> str:
    request = STYLES.parse(typed)
    assert isinstance(request, StyleRequest)
    return STYLES.prompt(request)


def test_there_are_the_24_styles() -> None:
    assert [style.id for style in STYLES.styles] == IDS
    assert len(STYLES.popular) == 6


@pytest.mark.parametrize("style", STYLES.styles, ids=IDS)
def test_every_name_of_a_style_leads_to_it(style: Style) -> None:
    for name in style.phrases:
        for typed in (name, name.upper(), f"{name} style", f"/{name}!", f"a headshot in {name}, please"):
            request = STYLES.parse(typed)
            assert isinstance(request, StyleRequest), typed
            assert (request.style, request.unknown, request.unsafe) == (style.id, (), ()), typed


@pytest.mark.parametrize("style", STYLES.styles, ids=IDS)
def test_a_prompt_says_clothes_place_and_light_and_nothing_about_the_person(style: Style) -> None:
    words = STYLES.prompt(StyleRequest(style=style.id))
    assert words.startswith("professional headshot of {subject}, ")
    assert words.count("{") == words.count("}") == 1
    assert not PERSONAL.search(words)
    assert "wearing a" in words
    assert style.background in words
    assert style.light in words
    assert ", ," not in words
    assert len(words) < 300


def test_a_black_and_white_style_says_so_and_names_no_colours() -> None:
    assert prompt("bw").startswith("professional headshot of {subject}, black and white, wearing a jacket")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("linkedin style", "a navy blazer, light grey studio background"),
        ("corporate, no tie, smile", "a dark suit, open collar, grey studio background"),
        ("corporate, with tie", "a dark suit and tie, grey studio background"),
        ("linkedin, red background", "a navy blazer, red studio background"),
        ("linkedin in a green sweater", "a green sweater, light grey studio background"),
        ("studio white, jumper", "a white sweater, white studio background"),
        ("medical scrubs", "a white jacket, light grey indoor background"),
        ("office, orange shirt", "an orange shirt, blurred office background"),
        ("brand #1a2b3c", "a casual shirt, navy studio background"),
        ("brand red", "a casual shirt, red studio background"),
        ("linkedin, office background", "a navy blazer, blurred office background"),
    ],
)
def test_wishes_replace_the_parts_they_are_about(typed: str, expected: str) -> None:
    assert f"wearing {expected}," in prompt(typed)


def test_what_was_replaced_takes_its_details_along() -> None:
    assert "roll-neck" in prompt("studio black")
    assert "roll-neck" not in prompt("studio black, navy suit")
    assert "gradient" not in prompt("linkedin, brick wall")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("glasses", "wearing glasses"),
        ("no glasses", "no glasses"),
        ("light retouch", "lightly retouched"),
        ("close up", "close up"),
        ("half body", "half body"),
        ("golden hour", "warm evening light"),
        ("laughing", "broad smile"),
        ("neutral", "serious expression"),
    ],
)
def test_further_wishes_reach_the_prompt(typed: str, words: str) -> None:
    assert words in prompt(f"linkedin, {typed}")


def test_glasses_as_in_the_photos_are_left_to_the_photos() -> None:
    assert "glasses" not in prompt("linkedin, glasses as in photos")


def test_a_word_that_is_in_no_list_never_reaches_a_prompt() -> None:
    assert prompt("linkedin with a dragon {subject} and Taylor") == prompt("linkedin")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("linkdin", "linkedin"),
        ("corprate", "corporate"),
        ("outdor", "outdoor"),
        ("coffe", "cafe"),
        ("lab", "medical"),
    ],
)
def test_the_nearest_styles_are_offered_best_first(typed: str, first: str) -> None:
    unknown = STYLES.parse(typed)
    assert isinstance(unknown, UnknownStyle)
    assert unknown.nearest[0] == first
    assert STYLES.search(typed)[0].id == first


@pytest.mark.parametrize("typed", ["flying dragon", "🙂", "لينكدإن", "ЛинкедИн", "zzz"])
def test_where_nothing_is_near_the_popular_ones_are_offered(typed: str) -> None:
    unknown = STYLES.parse(typed)
    assert isinstance(unknown, UnknownStyle)
    assert len(unknown.nearest) >= 1
    assert set(unknown.nearest) <= set(IDS)


def test_search_completes_names() -> None:
    assert STYLES.search("", limit=25) == list(STYLES.styles)
    assert STYLES.search("li")[0].id == "linkedin"
    assert STYLES.search("doc")[0].id == "medical"
    assert STYLES.search("CAFÉ")[0].id == "cafe"
    assert STYLES.search("🙂") == []
    assert len(STYLES.search("o", limit=3)) == 3


def test_an_unknown_id_is_no_style() -> None:
    assert STYLES.get("nothing") is None
    with pytest.raises(KeyError):
        STYLES.prompt(StyleRequest(style="nothing"))


def broken(tmp_path: Path, old: str, new: str) -> Path:
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "styles.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('id = "corporate"', 'id = "linkedin"', "stands twice"),
        ('aliases = ["company"', 'aliases = ["linked in"', "names linkedin and corporate"),
        ('label = "LinkedIn"', "", "required"),
        ('outfit = "blazer"', 'outfit = "{oops}"', "match"),
        ('popular = ["linkedin"', 'popular = ["nowhere"', "unknown styles: nowhere"),
        ("monochrome = true", "monchrome = true", "not permitted"),
        ("[[style]]", "[[style", "line"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Catalogue.load(broken(tmp_path, old, new))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        Catalogue.load(tmp_path / "nowhere.toml")


def test_the_example_in_the_documents_is_a_style(tmp_path: Path) -> None:
    document = (SHIPPED.parent.parent / "docs" / "adding-a-style.md").read_text(encoding="utf-8")
    example = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)[0]
    shipped = SHIPPED.read_text(encoding="utf-8")
    path = tmp_path / "styles.toml"
    path.write_text(shipped.replace("[[style]]", f"{example}\n[[style]]", 1), encoding="utf-8")
    added = Catalogue.load(path)
    style = tomllib.loads(example)["style"][0]["id"]
    promised = re.findall(r"```\n(professional headshot .*?)```", document, re.DOTALL)[0]
    assert added.prompt(StyleRequest(style=style)) == " ".join(promised.split())


def test_the_small_base_knows_the_words_of_every_style() -> None:
    """The words are read from its source: this side does not import the engine."""
    source = (SHIPPED.parent.parent / "engine" / "demo_base" / "vocabulary.py").read_text(encoding="utf-8")
    lines = re.search(r"^LINES = \((.*?)^\)", source, re.DOTALL | re.MULTILINE)
    assert lines
    known = set(re.findall(r"[a-z]+", lines[1]))
    for style in STYLES.styles:
        parts = (style.outfit, style.outfit_colour, style.background, style.background_colour, style.light)
        said = set(re.findall(r"[a-z]+", " ".join((*parts, style.expression, style.crop))))
        assert said <= known, (style.id, said - known)
