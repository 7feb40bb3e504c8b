"""Captions to the two conditions of FLUX: T5's tokens and CLIP's pooled vector."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from engine.demo_base.architecture import Size, make_clip_encoder, make_t5_encoder
from engine.demo_base.vocabulary import TEXT_TOKENS, TRIGGERS, make_clip_tokenizer, make_t5_tokenizer


@dataclass(frozen=True)
class Tokens:
    """t5: (n, TEXT_TOKENS), clip: (n, TEXT_TOKENS) token ids. CLIP is causal: what follows its end token
    is never seen, so a shorter padding than the pipeline's 77 gives the same vector."""

    t5: Tensor
    clip: Tensor

    def __getitem__(self, index: Tensor | slice) -> "Tokens":
        return Tokens(self.t5[index], self.clip[index])

    def where(self, chosen: Tensor, other: "Tokens") -> "Tokens":
        """Own rows where chosen (n,), else the other's."""
        return Tokens(
            torch.where(chosen[:, None], self.t5, other.t5),
            torch.where(chosen[:, None], self.clip, other.clip),
        )


class TextEncoders(nn.Module):
    """Both encoders, trained together with the transformer.

    While the base is trained, an identity (SFace's embedding) may be added to the trigger word's T5 token.
    So the base learns to read a face from that place, and a person's adapter finds a place that already
    means a face. The projection is not shipped.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.clip_tokenizer: CLIPTokenizer = make_clip_tokenizer()
        self.t5_tokenizer: T5TokenizerFast = make_t5_tokenizer(size.text_tokens)
        self.clip: CLIPTextModel = make_clip_encoder(size, self.clip_tokenizer)
        self.t5: T5EncoderModel = make_t5_encoder(size, self.t5_tokenizer)
        self.from_identity = nn.Linear(128, size.text_width, bias=False)
        ids = self.t5_tokenizer.convert_tokens_to_ids([f"▁{word}" for word in TRIGGERS])
        self.triggers: Tensor
        self.register_buffer("triggers", torch.tensor(ids), persistent=False)

    def tokenize(self, captions: list[str]) -> Tokens:
        """On the CPU."""
        options = {
            "padding": "max_length",
            "truncation": True,
            "max_length": TEXT_TOKENS,
            "return_tensors": "pt",
        }
        return Tokens(
            self.t5_tokenizer(captions, **options).input_ids,
            self.clip_tokenizer(captions, **options).input_ids,
        )

    def forward(self, tokens: Tokens, identity: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(n, TEXT_TOKENS, width) and (n, width). identity: (n, 128) of length 1, or zeros for nobody."""
        states, pooled = self.t5(input_ids=tokens.t5).last_hidden_state, self.clip(input_ids=tokens.clip)
        if identity is not None:
            states = self.show(states, self.named(tokens), identity)
        return states, pooled.pooler_output

    def named(self, tokens: Tokens) -> Tensor:
        """(n, TEXT_TOKENS): where a trigger word stands."""
        return torch.isin(tokens.t5, self.triggers)

    def show(self, states: Tensor, at: Tensor, identity: Tensor) -> Tensor:
        """T5's states with each identity (n, 128) written on its trigger word."""
        shown: Tensor = states + at[..., None] * self.from_identity(identity * 128**0.5)[:, None]
        return shown
