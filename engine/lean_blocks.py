"""FLUX's blocks in as few kernels as can be: the same weights and the same mathematics as diffusers' own, in
whose place these are put.

What is made of one input is one product. Norm and rotary embedding of query and key are one kernel, norm and
modulation of a block's input another (`engine.flux_ops`), which in float8 also rounds. There the GELU between
two products is part of the kernel that rounds for the second, and its gradient of the one that rounds for the
first.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from diffusers.models.normalization import AdaLayerNormContinuous
from diffusers.models.transformers.transformer_flux import (
    FluxAttention,
    FluxSingleTransformerBlock,
    FluxTransformerBlock,
)
from torch import Tensor, nn
from torch.nn import functional

from engine.flux_ops import normed_rows, rotated, rotated_gradient
from engine.modulation import Modulation
from engine.quantisation import Rounded

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
        """hidden_states: (batch, all tokens, width). The text goes through as it is, and nobody reads it.
        temb: its own part of the modulation."""
        assert image_rotary_emb is not None
        assert not joint_attention_kwargs
        shift, scale, gate = temb.chunk(3, dim=1)
        rows, hidden_states = _normed(self.to_in, self.norm.norm.eps, hidden_states, shift, scale)
        projected, raw = _apart(self.to_in, self.proj_out, rows, self.mlp_hidden_dim)
        attended = _attended(self.attn, [projected], image_rotary_emb)
        made = gate.unsqueeze(1) * _of_gelu(self.to_in, self.proj_out, attended, raw)
        return encoder_hidden_states, hidden_states + made


class LeanBlocks(nn.ModuleList):
    """Of one kind. Each takes its own part of what `Modulation` makes for all."""

    def __init__(self, blocks: Iterable[nn.Module], first: int, size: int) -> None:
        """first: where the first block's part begins. size: of a block's part."""
        super().__init__(blocks)
        self._first, self._size = first, size

    def __iter__(self) -> Iterator[Any]:
        """What is called one after another: not the modules themselves, which are the `children`."""
        for place, block in enumerate(self.children()):
            first = self._first + place * self._size
            yield partial(_with_part, block, slice(first, first + self._size))


class LeanSingleBlocks(LeanBlocks):
    """Between diffusers' own, text and picture are parted and joined again, back and forth as copies. Whoever
    goes through these joins them before the first block and parts them after the last."""

    def __iter__(self) -> Iterator[Any]:
        """See `LeanBlocks`."""
        yield _join
        yield from super().__iter__()
        yield _part


def _with_part(
    block: Any, part: slice, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor, *given: Any,
    **others: Any,
) -> Any:  # fmt: skip
    return block(hidden_states, encoder_hidden_states, temb[:, part], *given, **others)


class LeanNormOut(AdaLayerNormContinuous):  # type: ignore[misc]
    """The last norm: its part of the modulation is the last."""

    def forward(self, x: Tensor, conditioning_embedding: Tensor) -> Tensor:
        """(batch, tokens, width) -> the same."""
        scale, shift = conditioning_embedding[:, -2 * x.shape[-1] :].chunk(2, dim=1)
        made: Tensor = self.norm(x) * (1 + scale)[:, None] + shift[:, None]
        return made


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
        """(batch, tokens, width) of picture and text -> of text and picture. temb: its own part of the
        modulation, the picture's and the text's."""
        assert image_rotary_emb is not None
        assert not joint_attention_kwargs
        shift, scale, *picture = temb[:, : temb.shape[1] // 2].chunk(6, dim=1)
        text_shift, text_scale, *text = temb[:, temb.shape[1] // 2 :].chunk(6, dim=1)
        qkv, text_qkv, eps = self.attn.to_qkv, self.attn.to_added_qkv, self.norm1.norm.eps
        rows, hidden_states = _normed(qkv, eps, hidden_states, shift, scale)
        text_rows, encoder_hidden_states = _normed(
            text_qkv, eps, encoder_hidden_states, text_shift, text_scale
        )
        attended = _attended(self.attn, [text_qkv(text_rows), qkv(rows)], image_rotary_emb)
        lengths = [encoder_hidden_states.shape[1], hidden_states.shape[1]]
        text_part, part = torch.split(attended, lengths, dim=1)
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
    double, single = transformer.transformer_blocks, transformer.single_transformer_blocks
    for block in double:
        block.__class__ = LeanDoubleBlock
    for block in single:
        block.__class__ = LeanSingleBlock
    transformer.norm_out.__class__ = LeanNormOut
    norms = [norm for block in double for norm in (block.norm1, block.norm1_context)]
    norms += [*(block.norm for block in single), transformer.norm_out]
    transformer.time_text_embed = Modulation(transformer.time_text_embed, [norm.linear for norm in norms])
    for norm in norms:
        del norm.linear
    width = transformer.inner_dim
    transformer.transformer_blocks = LeanBlocks(double.children(), 0, 12 * width)
    transformer.single_transformer_blocks = LeanSingleBlocks(
        single.children(), 12 * width * len(double), 3 * width
    )


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
    hidden: Tensor, attended: Tensor, norm: Any, feed: Any,
    gate: Tensor, shift_mlp: Tensor, scale_mlp: Tensor, gate_mlp: Tensor,
) -> Tensor:  # fmt: skip
    first, second = feed.net[0].proj, feed.net[2]
    hidden = hidden + gate.unsqueeze(1) * attended
    rows, hidden = _normed(first, norm.eps, hidden, shift_mlp, scale_mlp)
    _, raw = _apart(first, second, rows, first.out_features)
    return hidden + gate_mlp.unsqueeze(1) * _of_gelu(first, second, None, raw)


def _normed(
    first: Any, eps: float, hidden: Tensor, shift: Tensor, scale: Tensor
) -> tuple[Tensor | Rounded, Tensor]:
    """Of hidden's tokens, normed and modulated, what the product after it takes; and hidden, as others are to
    take it: their gradient is then added where the norm's is made."""
    rounding = getattr(first, "in_float8", False)
    keep = not rounding or first.reads_values
    values, numbers, row_scale, hidden = _Normed.apply(hidden, shift, scale, eps, keep, rounding)  # type: ignore[no-untyped-call]
    return Rounded(values, numbers, row_scale, hidden.shape[:-1]) if rounding else values, hidden


def _apart(first: Any, second: Any, rows: Tensor | Rounded, raw_width: int) -> tuple[Tensor, Tensor]:
    """What a product makes, and the last of it before its GELU, which `_of_gelu` takes."""
    if _in_float8(first, second):
        plain, raw = first.apart(rows, raw_width)
        return plain, raw
    made = first(rows)
    plain, raw = torch.split(made, [made.shape[-1] - raw_width, raw_width], dim=-1)
    return plain, raw


def _of_gelu(first: Any, second: Any, left: Tensor | None, raw: Tensor) -> Tensor:
    """The second product, of [left | GELU(raw)]."""
    if _in_float8(first, second):
        made: Tensor = second.activated(left, raw)
        return made
    active = functional.gelu(raw, approximate="tanh")
    both: Tensor = second(active if left is None else torch.cat([left, active], dim=-1))
    return both


def _in_float8(*linears: Any) -> bool:
    return all(getattr(each, "in_float8", False) for each in linears)


def _attended(attention: Any, projected: Sequence[Tensor], rotary: Rotary) -> Tensor:
    """projected: query, key and value of text, and of picture, or of both: (batch, tokens, 3 * width) ->
    (batch, all tokens, width)."""
    weights = [attention.norm_q.weight, attention.norm_k.weight]
    if len(projected) > 1:
        weights = [attention.norm_added_q.weight, attention.norm_added_k.weight, *weights]
    heads, eps = attention.heads, attention.norm_q.eps
    if torch.is_grad_enabled() or len(projected) > 1:
        turned = _Rotated.apply(*rotary, heads, eps, len(projected), *projected, *weights)  # type: ignore[no-untyped-call]
    else:
        query, key, _ = rotated(projected, weights, *rotary, heads, eps, False)
        turned = query, key, projected[0].chunk(3, dim=-1)[2].unflatten(-1, (heads, -1))  # type: ignore[no-untyped-call]
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


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, shift: Tensor, scale: Tensor, eps: float, keep: bool, rounding: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ctx.eps = eps
        ctx.save_for_backward(hidden, scale)
        values, numbers, row_scale = normed_rows(hidden, shift, scale, eps, keep, rounding)
        ctx.mark_non_differentiable(numbers, row_scale)
        return values, numbers, row_scale, hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """n = (h - mean) r has the gradient g: then h has r (g - mean(g) - n mean(g n))."""
        hidden, scale = ctx.saved_tensors
        h, g = hidden.float(), gradients[0].float() * (1 + scale.float()[:, None])
        apart = h - h.mean(dim=-1, keepdim=True)
        r = torch.rsqrt(apart.square().mean(dim=-1, keepdim=True) + ctx.eps)
        n = apart * r
        made = r * (g - g.mean(dim=-1, keepdim=True) - n * (g * n).mean(dim=-1, keepdim=True))
        return (made + gradients[3].float()).to(hidden.dtype), None, None, None, None, None


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cos: Tensor, sin: Tensor, heads: int, eps: float, count: int, *given: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.heads, ctx.eps, ctx.count = heads, eps, count
        ctx.save_for_backward(cos, sin, *given)
        query, key, value = rotated(given[:count], given[count:], cos, sin, heads, eps, True)
        return query, key, value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin, *given = ctx.saved_tensors
        projected, weights = given[: ctx.count], given[ctx.count :]
        made = rotated_gradient(*gradients, projected, weights, cos, sin, ctx.heads, ctx.eps)
        return None, None, None, None, None, *made, *[None] * len(weights)
