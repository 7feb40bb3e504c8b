"""A person's adapter on the small base in a few lines, for the evaluation; the service has its own."""

import time
from dataclasses import dataclass

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from engine.demo_base.denoiser import draw_sigma, face_weights, velocity

BLOCKS = (
    r".*blocks\.\d+\.(attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)"
    r"|ff\.net\.(0\.proj|2)|ff_context\.net\.(0\.proj|2)|proj_mlp|proj_out)"
)
"""Attention and feed-forward of both kinds of blocks, as the service has it."""
REACHES = {"blocks": BLOCKS, "text": rf"context_embedder|{BLOCKS}"}
"""`text` also reaches where the captions enter."""


@dataclass(frozen=True)
class AdapterPlan:
    """steps or seconds end the training, whichever comes first."""

    rank: int = 16
    steps: int = 400
    seconds: float = 120.0
    batch: int = 4
    learning_rate: float = 2e-3
    warmup_steps: int = 10
    decay_from: float = 0.7
    targets: str = BLOCKS


def train_adapter(
    transformer: nn.Module, states: Tensor, pooled: Tensor, latents: Tensor, plan: AdapterPlan
) -> dict[str, float]:
    """Attach a LoRA to the transformer and train it on latents (n, 256, 64) under one caption's condition."""
    config = LoraConfig(
        r=plan.rank, lora_alpha=plan.rank, target_modules=plan.targets, init_lora_weights="gaussian"
    )
    transformer.requires_grad_(False)
    inject_adapter_in_model(config, transformer)
    weights = [p for name, p in transformer.named_parameters() if "lora_" in name]
    for weight in weights:
        weight.data = weight.data.float()
        weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(weights, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=1e-4)
    began, step, total, order = time.monotonic(), 0, 0.0, torch.empty(0, dtype=torch.long)
    n, device = plan.batch, latents.device
    while step < plan.steps and (elapsed := time.monotonic() - began) < plan.seconds:
        share = max(step / plan.steps, elapsed / plan.seconds)
        cool = 1.0 if share < plan.decay_from else max(0.05, (1 - share) / (1 - plan.decay_from))
        optimizer.param_groups[0]["lr"] = plan.learning_rate * min(1.0, (step + 1) / plan.warmup_steps) * cool
        if len(order) < n:
            order = torch.cat([order, torch.randperm(len(latents))])
        clean, order = latents[order[:n]].float(), order[n:]
        noise, sigma = torch.randn_like(clean), draw_sigma(n, clean.shape[1], device)
        noisy = torch.lerp(clean, noise, sigma[:, None, None])
        one = torch.ones(n, device=device)
        made = velocity(transformer, noisy, sigma, one, states.expand(n, -1, -1), pooled.expand(n, -1))
        loss = ((made - (noise - clean)) ** 2 * face_weights(clean.shape[1], device)).mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        step += 1
        total = 0.97 * total + 0.03 * float(loss.detach()) if step > 1 else float(loss.detach())
    return {"steps": step, "seconds": time.monotonic() - began, "loss": total}
