"""Captions must survive both tokenizers whole."""

import subprocess
import sys
from pathlib import Path

from transformers import CLIPTokenizer, T5TokenizerFast

from engine.demo_base.vocabulary import TEXT_TOKENS, save_tokenizers, word_list

CAPTION = "photo of sks person, wearing a navy suit, light grey studio background, soft light, smiling"


def test_every_word_is_one_token_in_both(tmp_path: Path) -> None:
    save_tokenizers(tmp_path)
    clip = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    t5 = T5TokenizerFast.from_pretrained(tmp_path / "tokenizer_2")
    for word in word_list():
        parts = word.split("-")
        assert len(clip(word).input_ids) == 2 + 2 * len(parts) - 1, word
        assert len(t5(word).input_ids) == 2, word
        assert t5.unk_token_id not in t5(word).input_ids, word


def test_an_unknown_word_costs_one_token_and_the_caption_fits(tmp_path: Path) -> None:
    _, t5 = save_tokenizers(tmp_path)
    assert len(t5("photo extraordinarily").input_ids) == 3
    assert t5("extraordinarily").input_ids[0] == t5.unk_token_id
    padded = t5(CAPTION, padding="max_length", truncation=True).input_ids
    assert len(padded) == TEXT_TOKENS == t5.model_max_length
    assert padded[-1] == t5.pad_token_id


def test_the_numbers_do_not_change_from_run_to_run() -> None:
    """A base that is trained further must read as it did. The merges of equal frequency decide."""
    code = (
        "from engine.demo_base.vocabulary import make_clip_tokenizer;"
        "print(sorted(make_clip_tokenizer().get_vocab().items()))"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)
    }
    assert len(runs) == 1
