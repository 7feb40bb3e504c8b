"""The engine's settings: they survive the command line, and nonsense is refused with what would be right."""

import pytest

from engine.config import PRESETS, EngineConfig


def test_settings_survive_the_command_line() -> None:
    config = EngineConfig(base="flux1-dev", device="cuda:1", preset="best", threads=3, mark_images=False)
    assert EngineConfig.from_json(config.to_json()) == config


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ValueError) as refused:
        EngineConfig(preset="superb")
    assert all(preset in str(refused.value) for preset in PRESETS)


def test_threads_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="threads"):
        EngineConfig(threads=-1)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError):
        EngineConfig.from_json('{"bass": "tiny"}')


@pytest.mark.parametrize("wrong", [{"memory_tier": "huge"}, {"merge": "maybe"}, {"compile": "yes"}])
def test_a_switch_has_few_positions(wrong: dict[str, str]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must be one of auto.*{value}"):
        EngineConfig(**wrong)


@pytest.mark.parametrize(
    ("name", "other", "wrong"),
    [("cuda_graphs", "off", "on"), ("attention", "safe", "off"), ("kernels", "off", "on")],
)
def test_what_is_automatic_has_one_other_position(name: str, other: str, wrong: str) -> None:
    assert getattr(EngineConfig(**{name: other}), name) == other
    with pytest.raises(ValueError, match=f"{name} must be auto or {other}, not '{wrong}'"):
        EngineConfig(**{name: wrong})


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "", "mps"])
def test_a_device_that_is_none_is_named(device: str) -> None:
    with pytest.raises(ValueError, match="auto, cpu, cuda or cuda:N"):
        EngineConfig(device=device)
