"""The words that the small base can read, and the two tokenizers made of them.

Captions are written by a fixed grammar (`captions.py`), so a few hundred whole words are enough. A word
outside the list costs one `<unk>` token in T5, which training teaches the base to ignore.
"""

from collections import Counter
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer, T5TokenizerFast

TEXT_TOKENS = 32
"""T5 sequence length of the small base, in training and in generation."""
CLIP_TOKENS = 77

TRIGGERS = ("sks", "ohwx", "tok", "likeness", "zwx", "subject")
"""Rare words without a meaning of their own, for a person's adapter."""

LINES = (
    # sentence
    "photo of a an the and in with at on headshot portrait picture person wearing no without face close",
    "up head shoulders professional business corporate formal casual studio",
    # presentation and age
    "man woman young adult middle aged older old",
    # clothing
    "suit jacket blazer tie shirt blouse dress sweater top t-shirt open collar neckwear",
    # colours
    "black dark charcoal grey gray silver white cream beige brown tan red burgundy pink orange yellow",
    "green teal blue navy purple bright muted colorful pale warm cool neutral deep",
    # background
    "background plain backdrop wall office indoor indoors library bookshelf outdoor outdoors park garden",
    "trees nature city street sky flag flags american blurred soft gradient textured",
    # light and film
    "light lighting lit daylight natural dramatic even low key high contrast color colour full monochrome",
    "film sharp softly",
    # expression, hair, glasses
    "smiling smile slight broad serious expression mouth closed teeth glasses eyeglasses hair short long",
    "blond beard bald looking camera left right slightly turned",
)

PUNCTUATION = (",", ".", "-", ";", ":")


def word_list() -> list[str]:
    """Every word once, in a stable order."""
    return list(dict.fromkeys([*(word for line in LINES for word in line.split()), *TRIGGERS]))


def make_t5_tokenizer(text_tokens: int = TEXT_TOKENS) -> T5TokenizerFast:
    """Unigram over whole words: a known word is one token, a run of unknown letters is one `<unk>`."""
    pieces: list[tuple[str, float]] = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -1.0) for word in word_list()]
    pieces += [(mark, -2.0) for mark in PUNCTUATION]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=text_tokens)


def make_clip_tokenizer() -> CLIPTokenizer:
    """Byte-pair merges made until each word of the list is one token."""
    letters = sorted({letter for word in word_list() for letter in word} | set(PUNCTUATION))
    runs = [run for word in (*word_list(), *PUNCTUATION) for run in word.split("-") if run]
    merges = _merges(runs)
    marks = (*letters, *[f"{letter}</w>" for letter in letters])
    tokens = dict.fromkeys(["<|startoftext|>", "<|endoftext|>", *marks, *map("".join, merges)])
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CLIP_TOKENS)


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909): the most frequent pair becomes one, of
    equals the first in the alphabet. The library's trainer orders equals anew in every run."""
    split = [(*word[:-1], f"{word[-1]}</w>") for word in dict.fromkeys(words)]
    merges: list[tuple[str, str]] = []
    while counts := Counter(pair for parts in split for pair in pairwise(parts)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        split = [_merged(parts, best) for parts in split]
    return merges


def _merged(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)


def save_tokenizers(folder: Path, text_tokens: int = TEXT_TOKENS) -> tuple[CLIPTokenizer, T5TokenizerFast]:
    """Write `tokenizer/` and `tokenizer_2/` of a diffusers folder; return both."""
    clip, t5 = make_clip_tokenizer(), make_t5_tokenizer(text_tokens)
    clip.save_pretrained(folder / "tokenizer")
    t5.save_pretrained(folder / "tokenizer_2")
    return clip, t5
