"""Captions say what was measured, in words that the base can read."""

from random import Random

from engine.demo_base.attributes import Attributes
from engine.demo_base.augment import STUDIO_COLOURS
from engine.demo_base.captions import caption, studio
from engine.demo_base.vocabulary import TEXT_TOKENS, TRIGGERS, make_t5_tokenizer

SOMEBODY = Attributes(
    "woman", "older", "blazer", "navy", "plain", "light grey", "smiling", "glasses", "soft light", False
)


def test_every_caption_is_readable_and_fits() -> None:
    tokenizer, random = make_t5_tokenizer(), Random(0)
    people = [studio(SOMEBODY, "plain", colour) for colour in STUDIO_COLOURS]
    people += [studio(SOMEBODY, kind, "") for kind in ("dark", "flag", "outdoor", "office")]
    for person in people * 20:
        for trigger in (False, True):
            ids = tokenizer(caption(person, random, trigger)).input_ids
            assert tokenizer.unk_token_id not in ids
            assert len(ids) <= TEXT_TOKENS


def test_a_trigger_stands_for_age_and_presentation() -> None:
    random = Random(1)
    lines = [caption(SOMEBODY, random, trigger=True) for _ in range(50)]
    assert all(any(word in line.split() for word in TRIGGERS) for line in lines)
    assert not any("older" in line for line in lines)
    assert any("navy" in line for line in lines)


def test_what_was_not_measured_is_not_said() -> None:
    nobody = Attributes("person", "", "", "", "", "", "", "", "", False)
    assert {caption(nobody, Random(i)).split(" of ")[1] for i in range(20)} == {"a person"}
