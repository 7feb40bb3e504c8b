"""Everything that the transformer is given and asked, against FLUX as its makers define it: packing,
positions, shift and schedule, the scale of timestep and guidance, the text's length."""

import copy
import inspect
from dataclasses import replace

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel

from engine import flow
from engine.models import KnownTexts
from engine.sigma_shift import SigmaShift
from tests.engine import bfl_flux

DEV_SHIFT = SigmaShift(_class_name="FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True, shift=3.0)


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (14, 6), (128, 96)])
def test_packing_and_positions(rows: int, columns: int) -> None:
    latents = torch.randn(2, 16, rows, columns, generator=torch.Generator().manual_seed(1))
    assert torch.equal(flow.pack(latents), bfl_flux.pack(latents))
    assert torch.equal(flow.image_ids(rows, columns), bfl_flux.positions(rows, columns))
    theirs = FluxPipeline._prepare_latent_image_ids(1, rows // 2, columns // 2, "cpu", torch.float32)
    assert torch.equal(flow.image_ids(rows, columns), theirs)


@pytest.mark.parametrize("side_px", [512, 768, 1024])
@pytest.mark.parametrize("num_steps", [4, 28, 50])
def test_the_schedule_at_each_size(side_px: int, num_steps: int) -> None:
    tokens = (side_px // 16) ** 2
    ours = flow.inference_sigmas(num_steps, DEV_SHIFT.mu(tokens))
    assert ours.tolist() == pytest.approx(bfl_flux.schedule(num_steps, tokens), rel=1e-6)


@pytest.mark.parametrize("side_px", [512, 768, 1024])
def test_sigmas_of_a_training_are_shifted_as_those_of_a_picture(side_px: int) -> None:
    tokens = (side_px // 16) ** 2
    mu = DEV_SHIFT.mu(tokens)
    plain = torch.sigmoid(torch.randn(200, generator=torch.Generator().manual_seed(9)))
    ours = flow.training_sigmas(200, mu, torch.Generator().manual_seed(9))
    assert ours.tolist() == pytest.approx([bfl_flux.time_shift(mu, t) for t in plain.tolist()], rel=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 3.5])
@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (12, 6)])
def test_a_prediction_is_the_makers_own(base, guidance: float, rows: int, columns: int) -> None:
    """Timestep and guidance times 1000 once, positions, order of the text, and the whole transformer."""
    plain = FluxTransformer2DModel.from_pretrained(base.folder.path / "transformer")
    config = plain.config
    geometry = bfl_flux.Geometry(
        config.num_attention_heads * config.attention_head_dim, config.num_attention_heads,
        config.num_layers, config.num_single_layers, tuple(config.axes_dims_rope),
    )  # fmt: skip
    theirs = bfl_flux.Flux(bfl_flux.fused(plain.state_dict(), geometry), geometry)
    latents = torch.randn(2, rows * columns // 4, 64, generator=torch.Generator().manual_seed(2))
    sigmas = torch.tensor([0.07, 0.93])
    texts = [base.encode_text("photo of sks person"), base.encode_text("a suit")]
    given = bfl_flux.positions(rows, columns), torch.stack([t.tokens for t in texts])
    pooled, wanted = torch.stack([t.pooled for t in texts]), torch.full((2,), guidance)
    expected = theirs(latents, *given, pooled, sigmas, wanted)
    with torch.no_grad():
        found = base.predict(latents, sigmas, texts, rows, columns, guidance)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for odd in (
        theirs(latents, *given, pooled, sigmas / 1000, wanted),
        theirs(latents, *given, pooled, sigmas, wanted / 1000),
        theirs(latents, given[0][:, [0, 2, 1]], given[1], pooled, sigmas, wanted),
    ):
        assert float((odd - expected).abs().max()) > 1e-3, "the comparison would not see this mistake"


def test_text_is_512_tokens_long_padded_and_unmasked_as_the_pipeline_has_it(base) -> None:
    """FLUX.1-dev's second tokenizer says 512; the small bases' say less, and are followed too."""
    default = inspect.signature(FluxPipeline.__call__).parameters["max_sequence_length"].default
    long = copy.deepcopy(base.t5_tokenizer)
    long.model_max_length = default
    flux = replace(base, t5_tokenizer=long, known_texts=KnownTexts())
    assert flux.text_tokens == default == 512
    text = flux.encode_text("photo of sks person")
    pipeline = FluxPipeline.from_pretrained(base.folder.path)
    pipeline.tokenizer_2 = long
    theirs, pooled, text_ids = pipeline.encode_prompt("photo of sks person", None)
    assert text.tokens.shape[0] == 512
    torch.testing.assert_close(text.tokens, theirs[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(text.pooled, pooled[0], rtol=0, atol=1e-4)
    assert torch.equal(flow.text_ids(512), text_ids)
    assert bool(text.tokens[-1].abs().max() > 0), "padding is a token like any other"
