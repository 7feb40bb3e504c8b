"""The random base has FLUX.1-dev's sizes; without OpenCV crops are cut nearly the same."""

import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from benchmarks.absent_packages import stand_in
from benchmarks.random_flux import FLUX, TINY, _autoencoder, random_flux
from engine import crops
from engine.crops import Crop, Framing, cut_crop
from engine.tiers import TIERS

# Of the published files.
T5_WEIGHTS, CLIP_WEIGHTS, VAE_WEIGHTS = 4_762_310_656, 123_060_480, 83_819_683


def test_encoders_and_autoencoder_are_as_large_as_flux_1_dev_has_them() -> None:
    with torch.device("meta"):
        t5 = T5EncoderModel(T5Config(**FLUX.t5, feed_forward_proj="gated-gelu"))
        clip, vae = CLIPTextModel(CLIPTextConfig(**FLUX.clip)), _autoencoder(FLUX.vae)
    sizes = [sum(each.numel() for each in model.parameters()) for model in (t5, clip, vae)]
    assert sizes == [T5_WEIGHTS, CLIP_WEIGHTS, VAE_WEIGHTS]


def test_it_can_be_asked_as_a_base_is() -> None:
    base = random_flux(TINY, torch.device("cpu"), TIERS[0])
    text = base.encode_text("photo of ohwx person")
    assert text.tokens.shape == (TINY.text_tokens, TINY.t5["d_model"])
    latents = base.encode_picture(torch.zeros(3, 64, 64))
    made = base.predict(latents[None], torch.tensor([0.5]), [text], 8, 8, 1.0)
    assert torch.isfinite(base.decode_latents(made, 64, 64)).all()


@pytest.mark.parametrize("side_px", [64, 300])
def test_a_crop_without_opencv_is_nearly_the_same(monkeypatch, side_px: int) -> None:
    ramp = np.linspace(0, 255, 400)
    picture = np.stack(
        [np.tile(ramp, (400, 1)), np.tile(ramp[:, None], (1, 400)), np.full((400, 400), 90.0)], -1
    )
    picture = picture.astype(np.uint8)
    crop = Crop(Framing.CLOSE_UP, 60, 100, 240, 240, side_px, side_px)
    exact = cut_crop(picture, crop).astype(int)
    monkeypatch.setattr(crops, "cv2", stand_in("cv2"))
    made = cut_crop(picture, crop).astype(int)
    assert made.shape == exact.shape
    assert np.abs(made - exact).max() <= 6
    with pytest.raises(AttributeError):
        crops.cv2.cvtColor(picture)  # what it does not have is an error
