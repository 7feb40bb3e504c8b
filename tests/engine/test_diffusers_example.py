"""Our step against the mathematics of diffusers' FLUX LoRA example (examples/dreambooth/
train_dreambooth_lora_flux.py), on the same batch, captions, noise and sigmas.

Written from the example's equations on unpacked latents, with a transformer, LoRA branches (peft's own, by
`add_adapter`) and an optimizer of its own. Where the example is known to be wrong its equations are meant,
not its defects: each caption with its own latents, and float32 branches.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from diffusers.training_utils import compute_loss_weighting_for_sd3
from peft import LoraConfig
from torch import Tensor

from engine.batches import Draw
from engine.dataset import Dataset
from engine.lora import TARGET_SUFFIXES, AdapterInfo, unpacked
from engine.presets import Recipe
from engine.selfies import Selfie
from engine.trainer import Training

RECIPE = Recipe(
    rank=4, steps=6, batch_size=3, learning_rate=2e-3, warmup_steps=3, resolutions_px=(64,),
    weight_decay=0.01, max_gradient_norm=0.05, caption_dropout=0.5,
)  # fmt: skip


class Example:
    """The example's training loop, as far as it computes."""

    def __init__(self, base, slot, start: dict[str, Tensor], recipe: Recipe) -> None:
        self.base, self.recipe = base, recipe
        self.transformer = FluxTransformer2DModel.from_pretrained(base.folder.path / "transformer")
        self.transformer.requires_grad_(False)
        self.transformer.add_adapter(
            LoraConfig(r=recipe.rank, lora_alpha=recipe.rank, init_lora_weights="gaussian",
                       target_modules=[*TARGET_SUFFIXES[:-1], *self._single_outs()])
        )  # fmt: skip
        self.parameters = {
            name.replace(".default.weight", ""): parameter
            for name, parameter in self.transformer.named_parameters()
            if parameter.requires_grad
        }
        assert set(self.parameters) == set(start)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(start[name])
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        # The example's "constant_with_warmup" counts its warm-up from 0; ours from the first step on.
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min(1.0, (step + 1) / recipe.warmup_steps)
        )

    def _single_outs(self) -> list[str]:
        """`proj_out` alone would be the last layer of the transformer too."""
        return [
            f"single_transformer_blocks.{i}.proj_out"
            for i in range(self.transformer.config.num_single_layers)
        ]

    def loss(self, draws: list[Draw], texts) -> Tensor:
        rows, columns, batch = draws[0].view.rows, draws[0].view.columns, len(draws)
        latents = torch.stack([draw.view.latents for draw in draws])
        model_input = FluxPipeline._unpack_latents(latents, rows * 8, columns * 8, 8)
        packed_noise = torch.stack([draw.noise for draw in draws])
        noise = FluxPipeline._unpack_latents(packed_noise, rows * 8, columns * 8, 8)
        sigmas = torch.cat([draw.sigma for draw in draws]).view(-1, 1, 1, 1)
        timesteps = sigmas.flatten() * 1000  # num_train_timesteps
        noisy = (1.0 - sigmas) * model_input + sigmas * noise
        prediction = self.transformer(
            hidden_states=FluxPipeline._pack_latents(noisy, batch, model_input.shape[1], rows, columns),
            timestep=timesteps / 1000,
            guidance=torch.tensor([self.recipe.guidance]).expand(batch),
            pooled_projections=torch.stack([texts[draw.caption].pooled for draw in draws]),
            encoder_hidden_states=torch.stack([texts[draw.caption].tokens for draw in draws]),
            txt_ids=torch.zeros(self.base.text_tokens, 3),
            img_ids=FluxPipeline._prepare_latent_image_ids(
                batch, rows // 2, columns // 2, torch.device("cpu"), torch.float32
            ),
            return_dict=False,
        )[0]
        prediction = FluxPipeline._unpack_latents(prediction, rows * 8, columns * 8, 8)
        weighting = compute_loss_weighting_for_sd3("logit_normal", sigmas)
        target = noise - model_input
        error = weighting.float() * (prediction.float() - target.float()) ** 2
        return error.reshape(batch, -1).mean(1).mean()

    def step(self, draws: list[Draw], texts) -> tuple[float, dict[str, Tensor]]:
        loss = self.loss(draws, texts)
        loss.backward()
        gradients = {name: parameter.grad.clone() for name, parameter in self.parameters.items()}
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.max_gradient_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return float(loss.detach()), gradients


@pytest.fixture
def dataset(base, coloured_photos: Callable) -> Dataset:
    data = Dataset()
    for path in coloured_photos((220, 40, 40), 5):
        data.add(Selfie.of(path, {}), base, RECIPE)
    while data.say(base):
        pass
    for number, (key, photo) in enumerate(data.photos.items()):
        text = f"photo of sks person, number {number}"
        data.texts[text] = base.encode_text(text)
        data.photos[key] = replace(photo, views=tuple(replace(view, caption=text) for view in photo.views))
    return data


@pytest.fixture
def pair(base, slot, dataset: Dataset, accelerator, tmp_path: Path) -> tuple[Training, Training, Example]:
    """Ours, a twin of it that draws the same batches, and the example with the same first weights. B is no
    longer 0, so that A has a gradient too."""

    def training(name: str) -> Training:
        info = AdapterInfo("a", "p", base.folder.revision, RECIPE.rank)
        made = Training(base, slot, dataset, RECIPE, info, tmp_path / name, 7, accelerator)
        generator = torch.Generator().manual_seed(3)
        for key, tensor in made.adapter.tensors.items():
            if key.endswith("lora_B"):
                tensor.normal_(std=0.05, generator=generator)
        return made

    ours, twin = training("ours"), training("twin")
    start = {name: tensor.clone() for name, tensor in ours.adapter.tensors.items()}
    return ours, twin, Example(base, slot, start, RECIPE)


def test_loss_and_gradients_of_a_step_are_the_examples(pair, slot, dataset: Dataset, monkeypatch) -> None:
    ours, twin, example = pair
    draws = twin._batches.next()
    assert len({draw.caption for draw in draws}) > 1
    loss, gradients = example.step(draws, dataset.texts)
    found: dict[str, Tensor] = {}

    def noted(parameters, most: float) -> Tensor:
        (whole,) = parameters
        found.update(unpacked(ours.adapter.info, whole.grad.clone(), slot).tensors)
        return torch.nn.utils.clip_grad_norm_(parameters, most)

    monkeypatch.setattr(ours._accelerator, "clip_grad_norm_", noted)
    assert ours.step() == pytest.approx(loss, rel=1e-6)
    for name, gradient in gradients.items():
        assert float(gradient.abs().max()) > 0
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-4, atol=1e-8 + 1e-5 * float(gradient.abs().max())
        )
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    assert float(norm) > RECIPE.max_gradient_norm, "it is clipped"


def test_after_several_steps_the_weights_are_the_examples(pair, dataset: Dataset) -> None:
    """Clipping, warm-up, weight decay and both of AdamW's moments."""
    ours, twin, example = pair
    start = {name: tensor.clone() for name, tensor in ours.adapter.tensors.items()}
    for _ in range(RECIPE.steps):
        loss, _ = example.step(twin._batches.next(), dataset.texts)
        assert ours.step() == pytest.approx(loss, rel=1e-5)
    for name, tensor in ours.adapter.tensors.items():
        moved = float((tensor - start[name]).abs().max())
        assert moved > RECIPE.learning_rate
        torch.testing.assert_close(tensor, example.parameters[name].detach(), rtol=0, atol=0.02 * moved)


def test_the_example_divides_by_1000_once_and_so_do_we(pair, dataset: Dataset, base) -> None:
    """A sigma that was scaled twice, or never, would give another loss: the comparison can fail."""
    _, twin, example = pair
    draws = twin._batches.next()
    right = float(example.loss(draws, dataset.texts).detach())
    wrong = [replace(draw, sigma=draw.sigma / 1000) for draw in draws]
    assert float(example.loss(wrong, dataset.texts).detach()) != pytest.approx(right, rel=1e-3)
    swapped = [replace(draw, caption=draws[0].caption) for draw in draws]
    assert float(example.loss(swapped, dataset.texts).detach()) != pytest.approx(right, rel=1e-6)
