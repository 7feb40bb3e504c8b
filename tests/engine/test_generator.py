"""Drawing: the same picture for the same seeds, whatever was interrupted and whoever is in the batch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from engine import generator
from engine.generator import Drawing, Frame, Shot, noise_of, steps
from engine.lora import Adapter, AdapterInfo, save_adapter

PROMPT = "photo of sks person"
FRAME = Frame(64, 64, num_steps=3, guidance=1.0)
SHOTS = {index: Shot(PROMPT, (100 + index,)) for index in range(4)}


@pytest.fixture
def adapter(base, slot) -> Adapter:
    random = torch.Generator().manual_seed(3)
    fresh = slot.fresh(AdapterInfo("a", "p", base.folder.revision, 4), random)
    for name, tensor in fresh.tensors.items():
        if name.endswith("lora_B"):
            tensor.normal_(std=0.5, generator=random)
    return fresh


@pytest.fixture
def draw(base, slot, adapter: Adapter) -> Callable[..., dict[int, np.ndarray]]:
    def run(shots: dict[int, Shot]) -> dict[int, np.ndarray]:
        taken: dict[int, np.ndarray] = {}
        drawing = Drawing(
            base, slot, adapter, FRAME, shots, lambda i, pixels: taken.update({i: pixels.astype(int)})
        )
        while not drawing.finished:
            drawing.step()
        assert drawing.steps_left == 0
        return taken

    return run


def apart(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a - b).max())


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(draw: Callable) -> None:
    first, again = draw(SHOTS), draw(SHOTS)
    assert list(first) == [0, 1, 2, 3]
    assert all(np.array_equal(first[index], again[index]) for index in SHOTS)
    assert apart(first[0], first[1]) > 10
    assert apart(first[0], draw({0: Shot(PROMPT, (7,))})[0]) > 10
    assert apart(first[0], draw({0: Shot("a house", SHOTS[0].seeds)})[0]) > 0


def test_a_picture_does_not_depend_on_its_neighbours(slot, draw: Callable, monkeypatch) -> None:
    together = draw(SHOTS)
    monkeypatch.setattr(slot, "batch_tokens", 1)
    alone = draw({2: SHOTS[2], 0: SHOTS[0]})
    assert list(alone) == [2, 0]
    assert max(apart(together[index], alone[index]) for index in alone) <= 1


def test_it_stops_between_any_two_steps(base, slot, adapter: Adapter, monkeypatch) -> None:
    monkeypatch.setattr(slot, "batch_tokens", 3 * FRAME.tokens)
    drawing = Drawing(base, slot, adapter, FRAME, SHOTS, lambda index, pixels: None)
    lefts = []
    while not drawing.finished:
        lefts.append(drawing.steps_left)
        drawing.step()
    assert lefts == list(range(steps(FRAME, 4, slot.batch_tokens), 0, -1))
    assert steps(FRAME, 4, slot.batch_tokens) == 2 * 3 + 4, "two batches of three steps, and four decodings"


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [
        (0, 4, []), (1, 4, [1]), (3, 4, [2, 1]), (7, 4, [4, 2, 1]), (8, 4, [4, 4]), (5, 3, [2, 2, 1]),
        (2, 0, [1, 1]), (20, 100, [8, 8, 4]),
    ],
)  # fmt: skip
def test_batches_have_sizes_that_are_few(count: int, most: int, sizes: list[int]) -> None:
    assert FRAME.batches(count, most * FRAME.tokens) == sizes


def test_what_could_not_be_taken_is_offered_again(base, slot, adapter: Adapter) -> None:
    full, taken = [OSError(28, "No space left on device")], list[int]()

    def take(index: int, pixels: np.ndarray) -> None:
        if full:
            raise full.pop()
        taken.append(index)

    drawing = Drawing(base, slot, adapter, FRAME, {5: SHOTS[0], 6: SHOTS[1]}, take)
    with pytest.raises(OSError, match="No space"):
        while True:
            drawing.step()
    assert not drawing.finished
    drawing.step()
    drawing.step()
    assert drawing.finished
    assert taken == [5, 6]


def test_noise_near_a_picture_resembles_it_and_keeps_its_spread() -> None:
    parent, child, grandchild = (noise_of(seeds, 64, 64) for seeds in ((1,), (1, 2), (1, 2, 3)))
    stranger = noise_of((2,), 64, 64)

    def alike(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))

    assert torch.equal(noise_of((1, 2), 64, 64), child)
    assert alike(parent, child) == pytest.approx(0.917, abs=0.03)
    assert alike(parent, grandchild) == pytest.approx(0.84, abs=0.03)
    assert abs(alike(parent, stranger)) < 0.05
    assert float(grandchild.std()) == pytest.approx(1, abs=0.03)


def test_near_noise_gives_a_near_picture(draw: Callable) -> None:
    made = draw({0: Shot(PROMPT, (1,)), 1: Shot(PROMPT, (1, 2)), 2: Shot(PROMPT, (2,))})
    near, far = np.abs(made[0] - made[1]).mean(), np.abs(made[0] - made[2]).mean()
    assert 0 < near < 0.8 * far


def test_the_pictures_are_those_of_a_flux_pipeline(base, slot, adapter: Adapter, draw, tmp_path) -> None:
    """Same noise, same prompt, the adapter's file loaded by diffusers itself."""
    save_adapter(tmp_path / "a.safetensors", adapter)
    ours = draw({0: SHOTS[0]})[0]
    pipeline = FluxPipeline.from_pretrained(base.folder.path)
    pipeline.load_lora_weights(str(tmp_path), weight_name="a.safetensors")
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        PROMPT,
        height=64,
        width=64,
        num_inference_steps=3,
        guidance_scale=1.0,
        latents=noise_of(SHOTS[0].seeds, 16, 64)[None],
        max_sequence_length=base.text_tokens,
        output_type="pt",
    ).images[0]
    assert apart(ours, generator.to_pixels(theirs * 2 - 1).astype(int)) <= 2
