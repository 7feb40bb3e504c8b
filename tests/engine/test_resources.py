"""What a job is allowed is what it gets: serving weights or the base, recomputing or not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.config import EngineConfig
from engine.float8 import Float8Linear, FrozenFloat8Linear, computes
from engine.flux_ops import kernels_allowed
from engine.lora import AdapterInfo, save_adapter
from engine.models import load_base
from engine.modulation import modulation_of
from engine.resources import Resources
from engine.tiers import TIERS, Float8Use


@pytest.fixture
def config(cache_dir) -> EngineConfig:
    return EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir), memory_tier="80gb")


def test_a_roomy_tier_draws_with_serving_weights(config: EngineConfig) -> None:
    resources = Resources(load_base(config), config)
    base, holder = resources.drawing(resources.all)
    assert holder is resources.serving
    assert base is resources.serving.base
    less = resources.all.less()
    base, holder = resources.drawing(less)
    assert holder is resources.slot
    assert base.transformer is resources.base.transformer


@pytest.mark.parametrize(
    ("tier", "merge", "merged"),
    [("80gb", "auto", True), ("80gb", "off", False), ("48gb", "auto", False), ("48gb", "on", True)],
)
def test_merging_is_as_the_tier_or_the_operator_says(config, tier: str, merge: str, merged: bool) -> None:
    chosen = replace(config, memory_tier=tier, merge=merge)
    resources = Resources(load_base(chosen), chosen)
    assert (resources.serving is not None) is merged
    assert resources.all.merged is merged


def test_a_gpu_without_float8_goes_on_without_it(config: EngineConfig, monkeypatch, caplog) -> None:
    chosen = replace(config, fp8="on")
    monkeypatch.setattr("engine.resources.computes", lambda device: False)
    resources = Resources(load_base(chosen), chosen)
    modules = [*resources.base.transformer.modules(), *resources.serving.base.transformer.modules()]
    assert not [module for module in modules if isinstance(module, Float8Linear | FrozenFloat8Linear)]
    assert "no_float8" in caplog.messages


def test_which_gpus_have_float8(monkeypatch) -> None:
    for capability, has in (((8, 0), False), ((8, 6), False), ((8, 9), True), ((9, 0), True)):
        monkeypatch.setattr("torch.cuda.get_device_capability", lambda _, found=capability: found)
        assert computes(torch.device("cuda", 0)) is has
    assert computes(torch.device("cpu"))


@pytest.mark.parametrize(("kernels", "own"), [("auto", True), ("off", False)])
def test_our_own_blocks_and_kernels_can_be_switched_off(config, monkeypatch, kernels: str, own: bool) -> None:
    """As on a GPU where they are right."""
    chosen = replace(config, kernels=kernels, fp8="on")
    monkeypatch.setattr("engine.flux_ops._right", lambda device: True)
    monkeypatch.setattr("engine.flux_ops._allowed", True)
    resources = Resources(load_base(chosen), chosen)
    assert resources.slot.lean is own
    assert kernels_allowed() is own
    assert (modulation_of(resources.base.transformer) is not None) is own
    assert resources.float8 == Float8Use(drawing=True, training=True), "plain torch computes it then"


def test_packed_weights_do_nothing_of_what_needs_whole_ones_and_the_log_says_so(config, caplog) -> None:
    chosen = replace(config, memory_tier="16gb", merge="on", compile="on", fp8="on")
    resources = Resources(load_base(chosen), chosen)
    assert resources.serving is None
    assert resources.float8 == Float8Use(drawing=False, training=False)
    said = [record for record in caplog.records if record.msg == "setting_without_effect"]
    assert [(record.setting, record.tier) for record in said] == [
        (name, TIERS[3].name) for name in ("merge", "compile", "fp8")
    ]


def test_a_job_with_less_keeps_its_own_adapter_at_hand_and_nobody_elses(
    config: EngineConfig, tmp_path: Path
) -> None:
    """It would be read again for every denoising step."""
    resources = Resources(load_base(config), config)
    base, slot, less = resources.base, resources.slot, resources.all.less()
    for name in ("own", "other"):
        info = AdapterInfo(name, "p", base.folder.revision, 4)
        save_adapter(tmp_path / name, slot.fresh(info, torch.Generator().manual_seed(1)))
    resources.grant(resources.all)
    other = resources.shelf.get("other", tmp_path / "other")
    resources.grant(less)
    own = resources.shelf.get("own", tmp_path / "own")
    resources.grant(less)
    assert resources.shelf.get("own", tmp_path / "own") is own
    assert resources.shelf.get("other", tmp_path / "other") is not other


def test_what_is_granted_is_switched_and_switched_back(config: EngineConfig) -> None:
    resources = Resources(load_base(config), config)
    transformer, full = resources.base.transformer, resources.all
    resources.grant(full)
    assert not transformer.gradient_checkpointing
    resources.grant(full.less())
    assert transformer.gradient_checkpointing
    assert resources.serving.released
    resources.grant(full)
    assert not transformer.gradient_checkpointing
