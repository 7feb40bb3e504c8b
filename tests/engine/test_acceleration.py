"""Compiled and warmed, nothing is compiled while somebody waits, and results stay the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import flux_kernels
from engine.acceleration import Acceleration, keep_artifacts
from engine.attention import Attention
from engine.base_folder import BaseSettings
from engine.config import EngineConfig
from engine.models import load_base
from engine.presets import recipe_for
from engine.resources import Resources
from tests.engine.test_lora import adapter, look


@pytest.fixture
def resources(cache_dir) -> Resources:
    config = EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir), memory_tier="80gb")
    return Resources(load_base(config), config)


@pytest.fixture
def recipe(resources: Resources):
    return replace(recipe_for("balanced", resources.base.settings), max_aspect=2.0)


def gradients(resources: Resources, one, side_px: tuple[int, int] = (64, 64)) -> dict[str, torch.Tensor]:
    rows, columns = side_px[1] // 8, side_px[0] // 8
    base, text = resources.base, resources.base.encode_text("photo of sks person")
    latents = torch.randn(1, rows * columns // 4, 64, generator=torch.Generator().manual_seed(0))
    with resources.slot.holding(one):
        base.predict(latents, torch.tensor([0.5]), [text], rows, columns, 1.0).square().mean().backward()
        return {
            name: parameter.grad.clone()
            for name, parameter in zip(resources.slot.names, resources.slot.parameters, strict=True)
        }


def test_on_a_cpu_nothing_is_compiled_unless_asked(resources: Resources, recipe) -> None:
    quiet = Acceleration(resources, recipe)
    assert not quiet.compiles
    quiet.start()
    assert quiet.recompiles == 0
    assert Acceleration(resources, recipe, "on").compiles
    assert not Acceleration(resources, recipe, "off").compiles


def test_attention_is_measured_on_a_gpu_unless_it_is_to_be_safe(
    resources: Resources, recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Attention("cudnn", "cudnn", "efficient")
    monkeypatch.setattr("engine.acceleration.choose", lambda *_: measured)
    assert Acceleration(resources, recipe).attention == Attention()
    monkeypatch.setattr(resources, "base", replace(resources.base, device=torch.device("cuda", 0)))
    assert Acceleration(resources, recipe).attention == measured.without_cudnn()
    assert Acceleration(resources, recipe, attention="safe").attention == Attention()


def test_without_room_to_warm_up_the_engine_starts_all_the_same(
    resources: Resources, recipe, monkeypatch, caplog
) -> None:
    def no_room(**_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    accelerated = Acceleration(resources, recipe, "on")
    monkeypatch.setattr(resources.serving.base.transformer, "forward", no_room)
    accelerated.start(backend="eager")
    assert "no_room_to_warm_up" in caplog.messages


def test_without_a_compiler_the_engine_starts_all_the_same(resources: Resources, recipe, caplog) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler")

    one = adapter(resources.base, resources.slot, 1)
    wanted = gradients(resources, one)
    accelerated = Acceleration(resources, recipe, "on")
    accelerated.start(backend=fails)
    assert "not_compiled" in caplog.messages
    assert not accelerated.compiles
    made = gradients(resources, one)
    assert all(torch.equal(made[name], wanted[name]) for name in wanted)
    with resources.serving.holding(one):
        look(resources.serving.base)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_cudnns_attention_is_given_up_where_its_gradients_are_not_finite(
    resources: Resources, recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right at the first call and not at the second, as it was seen."""
    accelerated, calls = Acceleration(resources, recipe, "on"), []
    accelerated.attention = Attention("cudnn", None)
    original = resources.base.transformer.forward

    def fails_later(**inputs: object) -> tuple[torch.Tensor]:
        (made,) = original(**inputs)
        broken = torch.is_grad_enabled() and torch.backends.cuda.cudnn_sdp_enabled()
        calls.append(broken)
        return (made * float("nan"),) if broken and sum(calls) > 1 else (made,)

    monkeypatch.setattr(resources.base.transformer, "forward", fails_later)
    accelerated.start(backend="eager")
    assert sum(calls) > 1
    assert accelerated.attention == Attention("flash", None)
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert not accelerated.distrust_attention(), "there is nothing else to blame"


def test_compiled_code_is_kept_by_the_attention_that_it_was_compiled_with(
    resources: Resources, recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's own key does not know it: what was compiled with cuDNN's came back after it was given up."""
    monkeypatch.setattr(torch.compiler.config, "cache_key_tag", "")
    accelerated, tags = Acceleration(resources, recipe, "off"), []
    accelerated.attention = Attention("cudnn", None)
    accelerated.start()
    tags.append(torch.compiler.config.cache_key_tag)
    accelerated.distrust_attention()
    tags.append(torch.compiler.config.cache_key_tag)
    assert len({*tags, ""}) == 3
    accelerated._in_use.close()


def test_the_warm_up_changes_the_base_so_that_a_merge_is_proven(resources: Resources, recipe) -> None:
    for name, tensor in Acceleration(resources, recipe)._adapter(torch.float32).tensors.items():
        assert bool(tensor.any()), name


@torch.no_grad()
def batch_of(count: int, base) -> torch.Tensor:
    text, noise = base.encode_text("photo of sks person"), torch.Generator().manual_seed(0)
    latents = torch.randn(count, 16, 64, generator=noise)
    return base.predict(latents, torch.full((count,), 0.5), [text] * count, 8, 8, 1.0)


SHOOTS, LOOK = (8, 4, 2, 1), 4  # pictures at once


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_after_the_warm_up_no_person_no_batch_no_bucket_and_no_look_compiles(
    resources: Resources, recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, slot = resources.base, resources.slot
    people = [adapter(base, slot, seed, recipe.rank, f"p{seed}") for seed in (1, 2, 3)]
    with slot.holding(people[0]):
        plain = batch_of(LOOK, base)
    wanted = gradients(resources, people[1])
    accelerated = Acceleration(resources, recipe, "on")
    monkeypatch.setattr(accelerated, "_ranks", lambda: {recipe.rank + 2})
    accelerated.start(backend="eager")
    serving = resources.serving
    before = adapter(base, slot, 4, recipe.rank + 2, "before another preset was chosen")
    for person in (*people, before, *people):
        with serving.holding(person):
            for count in SHOOTS:
                batch_of(count, serving.base)
    with serving.holding(people[0]):
        assert torch.allclose(batch_of(LOOK, serving.base), plain, atol=1e-4)
    made = gradients(resources, people[1])
    assert all(torch.allclose(made[name], wanted[name], atol=1e-6) for name in wanted)
    for bucket in ((64, 64), (80, 48), (48, 80), (96, 48)):
        gradients(resources, people[2], bucket)
    assert accelerated.recompiles == 0
    monkeypatch.setattr(flux_kernels, "compiled", [*flux_kernels.compiled, "_rotate"])
    assert accelerated.recompiles == 1, "our own kernels count"
    monkeypatch.undo()
    gradients(resources, adapter(base, slot, 9, recipe.rank + 1))
    assert accelerated.recompiles > 0, "the count can count"


@pytest.mark.parametrize(
    ("seconds_each", "full_at", "asked", "settled"),
    [
        (0.084, 99, [1, 2, 4], 4),  # 8 would take .67 s
        (0.3, 99, [1], 1),
        (0.01, 99, [1, 2, 4, 8], 8),
        (0.01, 4, [1, 2, 4], 2),  # no room for four
    ],
)
def test_as_many_are_drawn_together_as_may_be_waited_for(
    resources: Resources, recipe, monkeypatch, seconds_each: float, full_at: int, asked: list, settled: int
) -> None:
    accelerated, sizes, serving = Acceleration(resources, recipe), [], resources.serving
    tokens = (resources.base.settings.picture_px // 16) ** 2

    def ask(*given: object) -> float:
        sizes.append(given[4])
        if given[4] >= full_at:
            raise torch.OutOfMemoryError
        return given[4] * seconds_each

    monkeypatch.setattr(accelerated, "_asked", ask)
    monkeypatch.setattr("engine.acceleration.BATCH_TOKENS", tokens)
    for holder, most, wanted in ((serving, settled, asked), (resources.slot, 1, [1])):
        sizes.clear()
        holder.batch_tokens = 99 * tokens  # settled before, when it was faster
        accelerated._settle_batches(resources.base, holder, None, resources.base.settings.picture_px)
        assert (sizes, holder.batch_tokens) == (wanted, most * tokens)


def test_adapters_of_all_presets_are_expected(resources: Resources) -> None:
    large = BaseSettings()  # with no rank of its own
    folder = replace(resources.base.folder, settings=large)
    resources.base = replace(resources.base, folder=folder)
    assert Acceleration(resources, recipe_for("balanced", large))._ranks() == {32}
    assert Acceleration(resources, recipe_for("best", large))._ranks() == {16}


def test_without_room_for_a_plain_gradient_it_need_only_be_a_number(
    resources: Resources, recipe, monkeypatch, caplog
) -> None:
    caplog.set_level("INFO")
    accelerated = Acceleration(resources, recipe, "on")
    gradient, plainly = accelerated._gradient, accelerated._plainly

    @contextmanager
    def full() -> Iterator[None]:
        with plainly():
            raise torch.OutOfMemoryError("no room")
        yield

    monkeypatch.setattr(accelerated, "_plainly", full)
    accelerated.start(backend="eager")
    assert "gradient_not_compared" in caplog.messages
    assert "engine_warm" in caplog.messages
    one = accelerated._adapter(torch.float32)
    monkeypatch.setattr(accelerated, "_gradient", lambda *given: gradient(*given) * float("nan"))
    assert not accelerated._trains(one)


def test_a_gradient_far_from_the_plain_one_is_not_trusted(resources: Resources, recipe, monkeypatch) -> None:
    accelerated = Acceleration(resources, recipe, "on")
    one, gradient, calls = accelerated._adapter(torch.float32), accelerated._gradient, list[int]()
    assert accelerated._trains(one)

    def odd(*given: object) -> torch.Tensor:
        calls.append(1)
        made = gradient(*given)
        made[: len(made) // 100] *= 1 + (len(calls) > 1) * 5
        return made

    monkeypatch.setattr(accelerated, "_gradient", odd)
    assert not accelerated._trains(one)


def test_packed_weights_are_not_compiled(cache_dir) -> None:
    config = EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir), memory_tier="16gb")
    resources = Resources(load_base(config), config)
    recipe = recipe_for("balanced", resources.base.settings)
    assert not Acceleration(resources, recipe, "on").compiles


def test_in_float8_gradients_are_near_and_the_serving_weights_come_from_whole_ones(
    cache_dir, resources: Resources
) -> None:
    config = EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir), memory_tier="80gb", fp8="on")
    fast = Resources(load_base(config), config)
    one = adapter(resources.base, resources.slot, 1)
    exact, near = gradients(resources, one), gradients(fast, one)
    exact, near = (torch.cat([each.flatten() for each in all.values()]) for all in (exact, near))
    assert 0 < float((near - exact).norm() / exact.norm()) < 0.2
    with resources.slot.holding(one), fast.serving.holding(one):
        assert (
            float((look(fast.serving.base) - look(resources.base)).norm() / look(resources.base).norm()) < 0.1
        )


def test_compiled_code_is_kept_where_the_operator_keeps_files(tmp_path: Path, monkeypatch) -> None:
    import os

    places = {"TORCHINDUCTOR_CACHE_DIR": "compiled", "TRITON_CACHE_DIR": "compiled/triton"}
    for name in places:
        monkeypatch.setenv(name, "elsewhere")
    keep_artifacts(tmp_path)
    assert {os.environ[name] for name in places} == {"elsewhere"}
    for name in places:
        monkeypatch.delenv(name)
    keep_artifacts(tmp_path)
    assert {name: os.environ[name] for name in places} == {
        name: str(tmp_path / place) for name, place in places.items()
    }
