"""FLUX's blocks in as few kernels as can be: the same weights and the same mathematics as diffusers' own, in
whose place these are put.

What is made of one input is one product. Norm and rotary embedding of query and key are one kernel
(`engine.flux_ops`). In float8 the GELU between two products is part of the kernel that rounds for the second,
and its gradient of the one that rounds for the first.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers.models.transformers.transformer_flux import (
    FluxAttention,
    FluxSingleTransformerBlock,
    FluxTransformerBlock,
)
from torch import Tensor, nn
from torch.nn import functional

from engine.flux_ops import rotated, rotated_gradient

Rotary = tuple[Tensor, Tensor]  # cosines and sines (tokens, head's width), float32


class LeanSingleBlock(FluxSingleTransformerBlock):  # type: ignore[misc]
    """Of text and picture as one, see `LeanSingleBlocks`. `to_in` is query, key, value and the first half of
    the feed-forward."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        image_rotary_emb: Rotary | None = None,
        joint_attention_kwargs: dict[str, Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """hidden_states: (batch, all tokens, width). The text goes through as it is, and nobody reads it."""
        assert image_rotary_emb is not None
        assert not joint_attention_kwargs
        rows, gate = self.norm(hidden_states, emb=temb)
        projected, raw = _apart(self.to_in, self.proj_out, rows, self.mlp_hidden_dim)
        attended = _attended(self.attn, [projected], image_rotary_emb)
        made = gate.unsqueeze(1) * _of_gelu(self.to_in, self.proj_out, attended, raw)
        return encoder_hidden_states, hidden_states + made


class LeanSingleBlocks(nn.ModuleList):
    """Between diffusers' own, text and picture are parted and joined again, back and forth as copies. Whoever
    goes through these joins them before the first block and parts them after the last."""

    def __iter__(self) -> Iterator[Any]:
        """What is called one after another: not the modules alone, which are the `children`."""
        yield _join
        yield from super().__iter__()
        yield _part


def _join(hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    return encoder_hidden_states, torch.cat([encoder_hidden_states, hidden_states], dim=1)


def _part(hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    return encoder_hidden_states, hidden_states[:, encoder_hidden_states.shape[1] :]


class LeanDoubleBlock(FluxTransformerBlock):  # type: ignore[misc]
    """Of text and picture side by side, with an attention over both."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        image_rotary_emb: Rotary | None = None,
        joint_attention_kwargs: dict[str, Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(batch, tokens, width) of picture and text -> of text and picture."""
        assert image_rotary_emb is not None
        assert not joint_attention_kwargs
        rows, *picture = self.norm1(hidden_states, emb=temb)
        text_rows, *text = self.norm1_context(encoder_hidden_states, emb=temb)
        projected = [self.attn.to_added_qkv(text_rows), self.attn.to_qkv(rows)]
        attended = _attended(self.attn, projected, image_rotary_emb)
        text_part, part = torch.split(attended, [text_rows.shape[1], rows.shape[1]], dim=1)
        part = self.attn.to_out[1](self.attn.to_out[0](part.contiguous()))
        text_part = self.attn.to_add_out(text_part.contiguous())
        hidden_states = _fed(hidden_states, part, self.norm2, self.ff, *picture)
        encoder_hidden_states = _fed(
            encoder_hidden_states, text_part, self.norm2_context, self.ff_context, *text
        )
        return encoder_hidden_states, hidden_states


def compile_blocks(transformer: Any, backend: str, dynamic: bool | None) -> None:
    """Each block by itself: those of one kind share their code."""
    for blocks in (transformer.transformer_blocks, transformer.single_transformer_blocks):
        for block in blocks.children():
            block.compile(fullgraph=True, dynamic=dynamic, backend=backend)


def make_lean(transformer: Any) -> None:
    """Its blocks compute with these from now on."""
    for block in transformer.transformer_blocks:
        block.__class__ = LeanDoubleBlock
    for block in transformer.single_transformer_blocks:
        block.__class__ = LeanSingleBlock
    transformer.single_transformer_blocks = LeanSingleBlocks(transformer.single_transformer_blocks.children())


def fusions(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """What may be one product: by its name in that module, the paths of the linears, from there. What a block
    has made one is none of its attention's any more."""
    if isinstance(module, LeanSingleBlock):
        return {"to_in": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")}
    if isinstance(module, FluxAttention):
        return {
            "to_qkv": ("to_q", "to_k", "to_v"),
            "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
        }
    return {}


def _fed(
    hidden: Tensor, attended: Tensor, norm: nn.Module, feed: Any,
    gate: Tensor, shift_mlp: Tensor, scale_mlp: Tensor, gate_mlp: Tensor,
) -> Tensor:  # fmt: skip
    hidden = hidden + gate.unsqueeze(1) * attended
    rows = norm(hidden) * (1 + scale_mlp[:, None]) + shift_mlp[:, None]
    first, second = feed.net[0].proj, feed.net[2]
    _, raw = _apart(first, second, rows, first.out_features)
    return hidden + gate_mlp.unsqueeze(1) * _of_gelu(first, second, None, raw)


def _apart(first: Any, second: Any, rows: Tensor, raw_width: int) -> tuple[Tensor, Tensor]:
    """What a product makes, and the last of it before its GELU, which `_of_gelu` takes."""
    if _activates(first, second):
        plain, raw = first.apart(rows, raw_width)
        return plain, raw
    made = first(rows)
    plain, raw = torch.split(made, [made.shape[-1] - raw_width, raw_width], dim=-1)
    return plain, raw


def _of_gelu(first: Any, second: Any, left: Tensor | None, raw: Tensor) -> Tensor:
    """The second product, of [left | GELU(raw)]."""
    if _activates(first, second):
        made: Tensor = second.activated(left, raw)
        return made
    active = functional.gelu(raw, approximate="tanh")
    both: Tensor = second(active if left is None else torch.cat([left, active], dim=-1))
    return both


def _activates(first: Any, second: Any) -> bool:
    return getattr(first, "activates", False) and getattr(second, "activates", False)


def _attended(attention: Any, projected: Sequence[Tensor], rotary: Rotary) -> Tensor:
    """projected: query, key and value of text, and of picture, or of both: (batch, tokens, 3 * width) ->
    (batch, all tokens, width)."""
    weights = [attention.norm_q.weight, attention.norm_k.weight]
    if len(projected) > 1:
        weights = [attention.norm_added_q.weight, attention.norm_added_k.weight, *weights]
    heads, eps = attention.heads, attention.norm_q.eps
    turned = _Rotated.apply(*rotary, heads, eps, len(projected), *projected, *weights)  # type: ignore[no-untyped-call]
    query, key, value = (each.transpose(1, 2) for each in turned)
    made = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    dense: Tensor = _Dense.apply(made)  # type: ignore[no-untyped-call]
    return dense.flatten(2, 3)


class _Dense(torch.autograd.Function):
    """Nothing, with a gradient that is no part of a wider matrix.

    torch 2.11 keeps cuDNN's plans for attention's backward pass by the strides of query, key and value, not
    by the gradient's: with two layouts of it in one model, the second is read as if it were the first. That
    gave wrong gradients, NaN, or the end of the process.
    """

    @staticmethod
    def forward(ctx: Any, made: Tensor) -> Tensor:
        return made.view_as(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous()


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cos: Tensor, sin: Tensor, heads: int, eps: float, count: int, *given: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.heads, ctx.eps, ctx.count = heads, eps, count
        ctx.save_for_backward(cos, sin, *given)
        query, key, value = rotated(given[:count], given[count:], cos, sin, heads, eps)
        return query, key, value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin, *given = ctx.saved_tensors
        projected, weights = given[: ctx.count], given[ctx.count :]
        made = rotated_gradient(*gradients, projected, weights, cos, sin, ctx.heads, ctx.eps)
        return None, None, None, None, None, *made, *[None] * len(weights)
