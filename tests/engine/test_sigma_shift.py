"""The shift against diffusers' own scheduler, made from the same config: those of both FLUX.1 models."""

import json
from pathlib import Path

import numpy as np
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from pydantic import ValidationError

from engine import flow
from engine.base_folder import BaseFolder
from engine.demo_base.tiny import make_tiny_base
from engine.errors import BaseUnusable
from engine.sigma_shift import SigmaShift

# As they stand in the hub's folders of the two models.
COMMON = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "_diffusers_version": "0.30.0.dev0",
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
}
DEV = {**COMMON, "shift": 3.0, "use_dynamic_shifting": True}
SCHNELL = {**COMMON, "shift": 1.0, "use_dynamic_shifting": False}
CONSTANT = {**COMMON, "shift": 3.0, "use_dynamic_shifting": False}
STEEPER = {**DEV, "base_shift": 0.3, "max_shift": 2.0, "base_image_seq_len": 64, "max_image_seq_len": 8192}


@pytest.mark.parametrize("config", [DEV, SCHNELL, CONSTANT, STEEPER])
@pytest.mark.parametrize("num_steps", [1, 4, 28])
@pytest.mark.parametrize("tokens", [16, 256, 1024, 4096])
def test_the_schedule_is_that_of_diffusers(config: dict, num_steps: int, tokens: int) -> None:
    """As `FluxPipeline` asks for it."""
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
    names = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
    mu = calculate_shift(tokens, *(config[name] for name in names))
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / num_steps, num_steps).tolist(), mu=mu)
    ours = flow.inference_sigmas(num_steps, SigmaShift.model_validate(config).mu(tokens))
    np.testing.assert_allclose(ours.numpy(), scheduler.sigmas.numpy(), rtol=3e-7)


@pytest.mark.parametrize(("tokens", "mu"), [(256, 0.5), (4096, 1.15), (1024, 0.63)])
def test_the_dynamic_shift_grows_with_the_number_of_tokens(tokens: int, mu: float) -> None:
    assert SigmaShift.model_validate(DEV).mu(tokens) == pytest.approx(mu)
    assert SigmaShift.model_validate(SCHNELL).mu(tokens) == 0


def test_what_a_config_leaves_out_is_as_in_diffusers() -> None:
    bare = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    ours, theirs = SigmaShift.model_validate(bare), FlowMatchEulerDiscreteScheduler().config
    fields = set(SigmaShift.model_fields) - {"class_name"}
    assert {name: theirs[name] for name in fields} == {name: getattr(ours, name) for name in fields}


@pytest.mark.parametrize(
    "odd",
    [
        {"_class_name": "DDIMScheduler"},
        {"time_shift_type": "linear"},
        {"shift_terminal": 0.1},
        {"use_karras_sigmas": True},
        {"stochastic_sampling": True},
        {"shift": 0},
    ],
)
def test_a_schedule_that_is_not_ours_is_refused(odd: dict, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        SigmaShift.model_validate({**DEV, **odd})


def test_a_base_brings_its_own(tmp_path: Path) -> None:
    make_tiny_base(tmp_path)
    path = tmp_path / "scheduler" / "scheduler_config.json"
    assert BaseFolder.open(tmp_path).shift.use_dynamic_shifting
    path.write_text(json.dumps(SCHNELL))
    assert BaseFolder.open(tmp_path).shift == SigmaShift.model_validate(SCHNELL)
    path.write_text(json.dumps({**SCHNELL, "time_shift_type": "linear"}))
    with pytest.raises(BaseUnusable, match="time_shift_type"):
        BaseFolder.open(tmp_path)
    path.unlink()
    with pytest.raises(BaseUnusable, match="scheduler_config"):
        BaseFolder.open(tmp_path)
