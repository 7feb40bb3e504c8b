"""Tone: short, plain, no markup, no exclamation marks; and templates that name what they need."""

import string

import pytest

from bot.texts.labels import LABELS
from bot.texts.problems import LIKENESS, PROBLEMS, SHOOT_FAILURES, TRAINING_FAILURES
from bot.texts.profile import DESCRIPTION, SHORT_DESCRIPTION
from bot.texts.sentences import SENTENCES

ALL = [
    *SENTENCES.values(),
    *(*PROBLEMS.values(), *SHOOT_FAILURES.values(), *TRAINING_FAILURES.values(), *LIKENESS.values()),
    *(DESCRIPTION, SHORT_DESCRIPTION),
]
JARGON = ("LoRA", "adapter", "inference", "GPU", "tensor", "epoch", "latent", "backend", "invalid", "error")


@pytest.mark.parametrize("text", ALL)
def test_sentences_are_plain(text: str) -> None:
    assert "!" not in text
    assert not set(text) & set("*`<>#|")
    assert not any(word.lower() in text.lower() for word in JARGON)
    assert text == text.strip()
    assert text.endswith((".", "?", "smile", "deletes everything."))


def test_templates_use_named_values_only() -> None:
    for key, text in (SENTENCES | LABELS).items():
        for _, name, form, conversion in string.Formatter().parse(text):
            assert name is None or name.isidentifier(), key
            assert not form
            assert not conversion


def test_the_profile_fits_telegram() -> None:
    assert len(SHORT_DESCRIPTION) <= 120
    assert len(DESCRIPTION) <= 512
