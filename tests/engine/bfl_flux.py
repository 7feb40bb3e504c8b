"""FLUX.1 as its makers define it, written from their equations (black-forest-labs/flux, src/flux), and the
way in which ComfyUI brings a LoRA file to it (comfy/lora.py, comfy/weight_adapter/lora.py, comfy/utils.py).

Independent of the engine and of diffusers: functions over a plain dictionary of weights with fused qkv.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]
Slice = tuple[str, int, int]  # a weight's name, its first row, how many


@dataclass(frozen=True)
class Geometry:
    hidden: int
    heads: int
    double: int
    single: int
    axes: tuple[int, ...]


def time_shift(mu: float, t: float) -> float:
    return math.exp(mu) / (math.exp(mu) + (1 / t - 1)) if t > 0 else 0.0


def schedule(num_steps: int, tokens: int, base_shift: float = 0.5, max_shift: float = 1.15) -> list[float]:
    """get_schedule: a line through (256, base_shift) and (4096, max_shift) gives mu."""
    slope = (max_shift - base_shift) / (4096 - 256)
    mu = slope * tokens + base_shift - slope * 256
    return [time_shift(mu, 1 - step / num_steps) for step in range(num_steps + 1)]


def pack(latents: Tensor) -> Tensor:
    """einops: b c (h ph) (w pw) -> b (h w) (c ph pw)."""
    batch, channels, rows, columns = latents.shape
    return torch.stack(
        [
            latents[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].reshape(batch, channels * 4)
            for row in range(rows // 2)
            for column in range(columns // 2)
        ],
        dim=1,
    )


def positions(rows: int, columns: int) -> Tensor:
    """img_ids of latents."""
    return torch.tensor([[0.0, row, column] for row in range(rows // 2) for column in range(columns // 2)])


def timestep_embedding(t: Tensor, dim: int = 256) -> Tensor:
    """t in 0..1; time_factor = 1000, max_period = 10000, cosine first."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    angles = (1000.0 * t)[:, None].float() * frequencies[None]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class Flux:
    """The forward pass; `weights` are named as in the makers' own file."""

    def __init__(self, weights: Weights, geometry: Geometry) -> None:
        self.weights, self.geometry = weights, geometry

    def linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def embedder(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.out_layer", functional.silu(self.linear(f"{name}.in_layer", x)))

    def norm(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], eps=1e-6)

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, _ = qkv.shape
        split = qkv.view(batch, length, 3, self.geometry.heads, -1).permute(2, 0, 3, 1, 4)
        return split[0], split[1], split[2]

    def scaled(self, name: str, x: Tensor) -> Tensor:
        """RMSNorm over a head."""
        return (
            x * torch.rsqrt((x.float() ** 2).mean(-1, keepdim=True) + 1e-6) * self.weights[f"{name}.weight"]
        )

    def rotated(self, x: Tensor, angles: Tensor) -> Tensor:
        """Neighbouring pairs are turned by the position's angle."""
        pairs = x.float().view(*x.shape[:-1], -1, 2)
        cosine, sine = torch.cos(angles), torch.sin(angles)
        turned = [
            pairs[..., 0] * cosine - pairs[..., 1] * sine,
            pairs[..., 0] * sine + pairs[..., 1] * cosine,
        ]
        return torch.stack(turned, dim=-1).flatten(-2)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, angles: Tensor) -> Tensor:
        q, k = self.rotated(q, angles), self.rotated(k, angles)
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), dim=-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    def angles(self, ids: Tensor) -> Tensor:
        """theta = 10000 over each axis' own share of a head."""
        parts = []
        for axis, dim in enumerate(self.geometry.axes):
            omega = 10000.0 ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
            parts.append(ids[:, axis].double()[:, None] * omega[None])
        return torch.cat(parts, dim=-1).float()

    def modulation(self, name: str, vec: Tensor, count: int) -> tuple[Tensor, ...]:
        return self.linear(f"{name}.lin", functional.silu(vec))[:, None].chunk(count, dim=-1)

    def double_block(self, name: str, img: Tensor, txt: Tensor, vec: Tensor, angles: Tensor) -> tuple:
        streams, qkvs = {"img": img, "txt": txt}, {}
        mods = {s: self.modulation(f"{name}.{s}_mod", vec, 6) for s in streams}
        for s, x in streams.items():
            shift, scale = mods[s][:2]
            q, k, v = self.heads(self.linear(f"{name}.{s}_attn.qkv", (1 + scale) * self.norm(x) + shift))
            norm = f"{name}.{s}_attn.norm"
            qkvs[s] = self.scaled(f"{norm}.query_norm", q), self.scaled(f"{norm}.key_norm", k), v
        joint = [torch.cat([t, i], dim=2) for t, i in zip(qkvs["txt"], qkvs["img"], strict=True)]
        attended = self.attention(*joint, angles)
        parts = {"txt": attended[:, : txt.shape[1]], "img": attended[:, txt.shape[1] :]}
        for s in streams:
            _, _, gate, shift, scale, gate_mlp = mods[s]
            x = streams[s] + gate * self.linear(f"{name}.{s}_attn.proj", parts[s])
            inner = self.linear(f"{name}.{s}_mlp.0", (1 + scale) * self.norm(x) + shift)
            streams[s] = x + gate_mlp * self.linear(
                f"{name}.{s}_mlp.2", functional.gelu(inner, approximate="tanh")
            )
        return streams["img"], streams["txt"]

    def single_block(self, name: str, x: Tensor, vec: Tensor, angles: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(f"{name}.modulation", vec, 3)
        inner = self.linear(f"{name}.linear1", (1 + scale) * self.norm(x) + shift)
        q, k, v = self.heads(inner[..., : 3 * self.geometry.hidden])
        q, k = self.scaled(f"{name}.norm.query_norm", q), self.scaled(f"{name}.norm.key_norm", k)
        mlp = functional.gelu(inner[..., 3 * self.geometry.hidden :], approximate="tanh")
        return x + gate * self.linear(
            f"{name}.linear2", torch.cat([self.attention(q, k, v, angles), mlp], -1)
        )

    @torch.no_grad()
    def __call__(
        self, img: Tensor, img_ids: Tensor, txt: Tensor, y: Tensor, t: Tensor, guidance: Tensor
    ) -> Tensor:
        vec = self.embedder("time_in", timestep_embedding(t))
        vec = vec + self.embedder("guidance_in", timestep_embedding(guidance)) + self.embedder("vector_in", y)
        angles = self.angles(torch.cat([torch.zeros(txt.shape[1], 3), img_ids]))
        img, txt = self.linear("img_in", img), self.linear("txt_in", txt)
        for index in range(self.geometry.double):
            img, txt = self.double_block(f"double_blocks.{index}", img, txt, vec, angles)
        x = torch.cat([txt, img], dim=1)
        for index in range(self.geometry.single):
            x = self.single_block(f"single_blocks.{index}", x, vec, angles)
        x = x[:, txt.shape[1] :]
        shift, scale = self.linear("final_layer.adaLN_modulation.1", functional.silu(vec))[:, None].chunk(
            2, -1
        )
        return self.linear("final_layer.linear", (1 + scale) * self.norm(x) + shift)

    def denoise(
        self, noise: Tensor, img_ids: Tensor, txt: Tensor, y: Tensor, num_steps: int, guidance: float
    ) -> Tensor:
        """Packed noise (batch, tokens, channels) to clean latents."""
        times = schedule(num_steps, noise.shape[1])
        latents = noise
        for now, then in pairwise(times):
            batch = len(latents)
            velocity = self(
                latents, img_ids, txt, y, torch.full((batch,), now), torch.full((batch,), guidance)
            )
            latents = latents + (then - now) * velocity
        return latents


def key_map(geometry: Geometry) -> dict[str, Slice | str]:
    """From diffusers' names to a fused weight's rows, or to a whole weight."""
    hidden, names = geometry.hidden, {}
    for index in range(geometry.double):
        old, new = f"transformer_blocks.{index}.", f"double_blocks.{index}."
        for stream, parts, norms in (
            ("img", ("to_q", "to_k", "to_v"), ("norm_q", "norm_k")),
            ("txt", ("add_q_proj", "add_k_proj", "add_v_proj"), ("norm_added_q", "norm_added_k")),
        ):
            for place, part in enumerate(parts):
                names[f"{old}attn.{part}"] = (f"{new}{stream}_attn.qkv", place * hidden, hidden)
            for norm, kind in zip(norms, ("query_norm", "key_norm"), strict=True):
                names[f"{old}attn.{norm}"] = f"{new}{stream}_attn.norm.{kind}"
        whole = {
            "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj",
            "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin",
            "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
            "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2",
        }  # fmt: skip
        names |= {f"{old}{k}": f"{new}{v}" for k, v in whole.items()}
    for index in range(geometry.single):
        old, new = f"single_transformer_blocks.{index}.", f"single_blocks.{index}."
        for place, part in enumerate(("to_q", "to_k", "to_v")):
            names[f"{old}attn.{part}"] = (f"{new}linear1", place * hidden, hidden)
        names[f"{old}proj_mlp"] = (f"{new}linear1", 3 * hidden, 4 * hidden)
        names |= {
            f"{old}norm.linear": f"{new}modulation.lin", f"{old}proj_out": f"{new}linear2",
            f"{old}attn.norm_q": f"{new}norm.query_norm", f"{old}attn.norm_k": f"{new}norm.key_norm",
        }  # fmt: skip
    names |= {"x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear"}
    for old, new in (("timestep", "time"), ("guidance", "guidance"), ("text", "vector")):
        for number, layer in ((1, "in"), (2, "out")):
            names[f"time_text_embed.{old}_embedder.linear_{number}"] = f"{new}_in.{layer}_layer"
    return names


def fused(state: Mapping[str, Tensor], geometry: Geometry) -> Weights:
    """A diffusers FLUX state as the makers' own file has it."""
    names, parts, made = key_map(geometry), {}, {}
    for key, tensor in state.items():
        path, kind = key.rsplit(".", 1)
        if path == "norm_out.linear":  # diffusers has scale before shift
            scale, shift = tensor.chunk(2)
            made[f"final_layer.adaLN_modulation.1.{kind}"] = torch.cat([shift, scale])
        elif isinstance(target := names[path], str):
            made[f"{target}.{kind}"] = tensor.clone()
        else:
            parts.setdefault(f"{target[0]}.{kind}", []).append((target[1], tensor))
    return made | {
        key: torch.cat([tensor for _, tensor in sorted(found, key=lambda each: each[0])])
        for key, found in parts.items()
    }


LAYOUTS: dict[str, Callable[[str], str]] = {
    "diffusers": lambda path: f"transformer.{path}",
    "onetrainer": lambda path: "lora_transformer_" + path.replace(".", "_"),
    "diffsynth": lambda path: path,
}


def with_lora(weights: Weights, file: Mapping[str, Tensor], geometry: Geometry) -> tuple[Weights, set[str]]:
    """W += alpha / rank * B @ A in float32 at full strength; without an alpha in the file the factor is 1.
    Also returns the file's keys that were not understood, which ComfyUI logs and ignores."""
    made, used = {name: tensor.clone() for name, tensor in weights.items()}, set()
    for path, target in key_map(geometry).items():
        for layout in LAYOUTS.values():
            stem = layout(path)
            for up, down in (("lora_up.weight", "lora_down.weight"), ("lora_B.weight", "lora_A.weight")):
                if f"{stem}.{up}" not in file:
                    continue
                a, b = file[f"{stem}.{down}"].float(), file[f"{stem}.{up}"].float()
                alpha = file.get(f"{stem}.alpha")
                factor = 1.0 if alpha is None else float(alpha) / len(a)
                name, first, count = (target, 0, len(b)) if isinstance(target, str) else target
                made[f"{name}.weight"][first : first + count] += factor * (b @ a)
                used |= {f"{stem}.{up}", f"{stem}.{down}", f"{stem}.alpha"}
    return made, set(file) - used
