"""A training learns, and one that was interrupted ends with the very same weights as one that was not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.config import EngineConfig
from engine.dataset import Dataset
from engine.generator import Drawing, Frame, Shot
from engine.lora import AdapterInfo, AdapterSlot, load_adapter, save_adapter
from engine.models import load_base
from engine.presets import Recipe
from engine.selfies import Selfie
from engine.trainer import CHECKPOINT_FILE, Training, TrainingDiverged

RECIPE = Recipe(
    rank=4,
    steps=12,
    batch_size=3,
    learning_rate=3e-3,
    warmup_steps=4,
    resolutions_px=(64,),
    caption_dropout=0.2,
)


@pytest.fixture
def dataset(base, coloured_photos: Callable) -> Dataset:
    data = Dataset()
    for path in coloured_photos((220, 40, 40), 5):
        data.add(Selfie.of(path, {}), base, RECIPE)
    while data.say(base):
        pass
    return data


@pytest.fixture
def make(base, slot, dataset: Dataset, accelerator) -> Callable[..., Training]:
    def training(work_dir: Path, recipe: Recipe = RECIPE, seed: int = 7, data: Dataset = dataset) -> Training:
        info = AdapterInfo("a", "p", base.folder.revision, recipe.rank)
        return Training(base, slot, data, recipe, info, work_dir, seed, accelerator)

    return training


def run(training: Training, steps: int | None = None) -> list[float]:
    losses = []
    while not training.finished and (steps is None or len(losses) < steps):
        losses.append(training.step())
    return losses


def same(a: Training, b: Training) -> bool:
    return all(torch.equal(a.adapter.tensors[name], b.adapter.tensors[name]) for name in a.adapter.tensors)


def test_interrupted_anywhere_it_ends_with_the_same_bits(make: Callable, tmp_path: Path) -> None:
    straight = make(tmp_path / "straight")
    losses = run(straight)
    for stop in (1, 2, 5, 11):
        first = make(tmp_path / f"at-{stop}")
        begun = run(first, stop)
        first.save()
        run(first, 3)  # lost with the process
        second = make(tmp_path / f"at-{stop}")
        assert second.resumed
        assert second.step_index == stop
        assert begun + run(second) == losses
        assert same(second, straight)


def test_interrupted_after_every_step_it_ends_with_the_same_bits(make: Callable, tmp_path: Path) -> None:
    straight = make(tmp_path / "straight")
    run(straight)
    while not (current := make(tmp_path / "often")).finished:
        current.step()
        current.save()
    assert same(current, straight)


EVERYTHING = replace(RECIPE, ema_decay=0.8, prior_share=0.3, weight_decay=0.05, batch_size=2, steps=14)


def everything(base, data: Dataset) -> Dataset:
    """Captions and masks that differ, crops of two sizes, weights, and pictures of anybody."""
    made = replace(data, photos=dict(data.photos), texts=dict(data.texts), weights={})
    generator = torch.Generator().manual_seed(8)
    for number, (key, photo) in enumerate(data.photos.items()):
        text = f"photo of sks person, number {number}"
        made.texts[text] = base.encode_text(text)
        masked = replace(
            photo.views[0], caption=text, share=0.6, weights=torch.rand(16, 4, generator=generator)
        )
        small = replace(
            masked, latents=masked.latents[:4], rows=4, columns=4, weights=masked.weights[:4], share=0.4
        )
        made.photos[key] = replace(photo, views=(masked, small))
        made.weights[key] = 0.6 + 0.2 * number
    anybody = next(iter(data.photos.values())).views[0]
    made.texts["photo of a person"] = base.encode_text("photo of a person")
    made.prior = (replace(anybody, caption="photo of a person"), replace(anybody, caption=made.plain))
    return made


def state(training: Training) -> dict[str, torch.Tensor]:
    """Everything that a further step depends on."""
    tensors = {"live": training._weights.detach(), "average": training._average.tensor}
    for index, moments in training._optimizer.state_dict()["state"].items():
        tensors |= {f"{index}/{kind}": value for kind, value in moments.items()}
    tensors["generator"] = training._batches.state[1]
    tensors |= {f"best/{name}": tensor for name, tensor in training.best.adapter.tensors.items()}
    return tensors


@pytest.mark.parametrize("kills", [(1,), (2, 3, 4), (7,), tuple(range(1, 14)), (4, 4, 9, 13)], ids=str)
def test_everything_on_and_killed_many_times_all_of_its_state_is_the_same(
    make: Callable, base, dataset: Dataset, tmp_path: Path, kills: tuple[int, ...]
) -> None:
    """Weights, average, both moments and the count of the optimizer, random state, order, best, notes; each
    kill loses the steps since the last save, as a crash does."""
    data = everything(base, dataset)

    def step(training: Training) -> None:
        loss = training.step()
        training.notes["losses"] = [*training.notes.get("losses", []), loss]
        if training.step_index in (3, 6):
            training.keep_best(-abs(training.step_index - 7))

    straight = make(tmp_path / "straight", EVERYTHING, data=data)
    while not straight.finished:
        step(straight)
    for at in kills:
        running = make(tmp_path / "cut", EVERYTHING, data=data)
        while running.step_index < at:
            step(running)
        running.save()
        for _ in range(min(2, EVERYTHING.steps - at)):
            step(running)
    again = make(tmp_path / "cut", EVERYTHING, data=data)
    assert (again.resumed, again.step_index) == (True, max(kills))
    while not again.finished:
        step(again)
    one, other = state(straight), state(again)
    assert one.keys() == other.keys()
    assert one["0/exp_avg_sq"].shape == one["live"].shape
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    assert again._batches.state[0] == straight._batches.state[0]
    assert again.notes == straight.notes
    assert (again.best.score, again.best.step) == (straight.best.score, straight.best.step) == (-1, 6)
    assert not torch.equal(one["live"], one["average"])


def test_the_optimizers_one_kernel_for_gpus_resumes_too(
    make: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It exists on the CPU as well, and keeps its count of steps as another kind of tensor."""
    plain = make(tmp_path / "plain")
    run(plain)
    adamw = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *given, **more: adamw(*given, **{**more, "fused": True}))
    straight = make(tmp_path / "straight")
    run(straight)
    for stop in (3, 8):
        running = make(tmp_path / "cut")
        run(running, stop - running.step_index)
        running.save()
    again = make(tmp_path / "cut")
    assert again.resumed
    run(again)
    assert same(again, straight)
    for name, tensor in straight.adapter.tensors.items():
        torch.testing.assert_close(
            tensor, plain.adapter.tensors[name], rtol=0, atol=0.1 * RECIPE.learning_rate
        )


def test_its_best_is_a_copy_and_survives_a_crash(make: Callable, tmp_path: Path) -> None:
    training = make(tmp_path)
    assert training.best is None
    run(training, 3)
    training.keep_best(0.25)
    then = {name: tensor.clone() for name, tensor in training.adapter.tensors.items()}
    run(training, 2)
    training.notes["curve"] = [[3, 0.25], [5, 0.2]]
    training.save()
    again = make(tmp_path)
    for one in (training, again):
        assert (one.best.score, one.best.step, one.best.adapter.info.steps) == (0.25, 3, 3)
        assert all(torch.equal(tensor, then[name]) for name, tensor in one.best.adapter.tensors.items())
        assert one.notes == {"curve": [[3, 0.25], [5, 0.2]]}
    assert not all(torch.equal(tensor, then[name]) for name, tensor in again.adapter.tensors.items())
    run(again, 1)
    again.keep_best(0.3)
    assert again.best.step == 6


def test_one_that_was_stopped_early_is_finished_for_good(make: Callable, tmp_path: Path) -> None:
    training = make(tmp_path)
    run(training, 3)
    training.stop_early()
    assert training.finished
    assert (training.step_index, training.total_steps) == (3, 12)
    training.save()
    assert make(tmp_path).finished


def test_two_trainings_step_by_step_on_one_base_are_the_two_alone(make: Callable, tmp_path: Path) -> None:
    alone = make(tmp_path / "a1", seed=1), make(tmp_path / "b1", replace(RECIPE, rank=2), seed=2)
    for training in alone:
        run(training)
    together = make(tmp_path / "a2", seed=1), make(tmp_path / "b2", replace(RECIPE, rank=2), seed=2)
    while not together[0].finished:
        for training in together:
            training.step()
    assert same(alone[0], together[0])
    assert same(alone[1], together[1])


def test_a_checkpoint_of_anything_else_is_not_taken_over(
    make: Callable, base, dataset, tmp_path: Path
) -> None:
    first = make(tmp_path)
    run(first, 2)
    first.save()
    assert make(tmp_path).resumed
    assert not make(tmp_path, seed=8).resumed
    assert not make(tmp_path, replace(RECIPE, steps=13)).resumed
    fewer = replace(dataset, photos={key: dataset.photos[key] for key in dataset.keys[1:]})
    assert not make(tmp_path, data=fewer).resumed


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", None])
def test_a_damaged_checkpoint_begins_anew(make: Callable, tmp_path: Path, content: bytes | None) -> None:
    first = make(tmp_path)
    run(first, 2)
    first.save()
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:-7] if content is None else content)
    again = make(tmp_path)
    assert (again.resumed, again.step_index) == (False, 0)


def test_what_a_kill_left_half_written_is_removed(make: Callable, tmp_path: Path) -> None:
    left = tmp_path / f".{CHECKPOINT_FILE}.abc123.part"
    left.write_bytes(b"half")
    other = tmp_path / ".other.safetensors.abc123.part"
    other.write_bytes(b"somebody else's")
    make(tmp_path)
    assert not left.exists()
    assert other.exists()


def test_the_loss_falls_and_the_adapter_survives_its_file(make: Callable, base, slot, tmp_path: Path) -> None:
    training = make(tmp_path, replace(RECIPE, steps=120, learning_rate=1e-2))
    losses = run(training)
    assert sum(losses[-30:]) < 0.9 * sum(losses[:30])
    save_adapter(tmp_path / "a.safetensors", training.adapter)
    loaded = load_adapter(tmp_path / "a.safetensors", slot, base.folder.revision, base.device)
    assert all(torch.equal(loaded.tensors[name], training.adapter.tensors[name]) for name in slot.names)


def test_the_base_itself_never_changes(make: Callable, base, tmp_path: Path) -> None:
    def weights() -> dict[str, torch.Tensor]:
        return {n: p.detach().clone() for n, p in base.transformer.named_parameters() if "lora_" not in n}

    before = weights()
    run(make(tmp_path))
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights().items())


def test_adapters_train_in_float32(make: Callable, tmp_path: Path) -> None:
    training = make(tmp_path)
    training.step()
    assert {tensor.dtype for tensor in training.adapter.tensors.values()} == {torch.float32}


def test_one_step_is_the_textbook_step(make: Callable, base, slot, dataset: Dataset, tmp_path: Path) -> None:
    """Loss, clipped gradient and AdamW's first update, written out from their equations."""
    recipe = replace(RECIPE, batch_size=1, warmup_steps=1, weight_decay=0.0)
    training, twin = make(tmp_path / "one", recipe), make(tmp_path / "two", recipe)
    start = {name: tensor.clone() for name, tensor in twin.adapter.tensors.items()}
    (draw,) = twin._batches.next()
    sigma, noise, x0 = draw.sigma, draw.noise[None], draw.view.latents[None]
    noised = ((1 - sigma) * x0 + sigma * noise).float()
    with slot.holding(twin.adapter):
        output = base.predict(noised, sigma.float(), [dataset.texts[draw.caption]], 8, 8, 1.0)
        loss = ((output - (noise - x0)) ** 2).mean()
        gradients = dict(zip(slot.names, torch.autograd.grad(loss, slot.parameters), strict=True))
    assert training.step() == pytest.approx(float(loss.detach()), rel=1e-5)
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    for name, gradient in gradients.items():
        clipped = gradient * min(1.0, 1.0 / float(norm))
        expected = start[name] - recipe.learning_rate * clipped / (clipped.abs() + 1e-8)
        sure = clipped.abs() > 1e-5  # AdamW's first step is the gradient's sign: not where that is rounding
        assert torch.allclose(training.adapter.tensors[name][sure], expected[sure], atol=1e-5)


def test_sigmas_reach_the_transformer_between_0_and_1(
    base, make: Callable, tmp_path: Path, monkeypatch
) -> None:
    seen = []
    original = base.transformer.forward

    def spy(**inputs):
        seen.append(
            (inputs["timestep"].clone(), inputs["guidance"].clone(), inputs["encoder_hidden_states"].shape)
        )
        return original(**inputs)

    monkeypatch.setattr(base.transformer, "forward", spy)
    run(make(tmp_path))
    assert all(bool(((sigma > 0) & (sigma < 1)).all()) for sigma, _, _ in seen)
    assert all(guidance.tolist() == [1.0] * 3 for _, guidance, _ in seen)
    assert {shape[1] for _, _, shape in seen} == {base.text_tokens}


def test_a_bfloat16_base_trains_float32_adapters(
    cache_dir: Path, coloured_photos: Callable, accelerator, tmp_path: Path
) -> None:
    """As on a GPU: the base in half precision, small updates of the adapter not rounded away."""
    loaded = load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir)))
    for model in (loaded.transformer, loaded.vae, loaded.clip, loaded.t5):
        model.to(torch.bfloat16)
    half = replace(loaded, dtype=torch.bfloat16)
    slot, data = AdapterSlot(half.transformer), Dataset()
    for path in coloured_photos((220, 40, 40), 3):
        data.add(Selfie.of(path, {}), half, RECIPE)
    while data.say(half):
        pass
    info = AdapterInfo("a", "p", half.folder.revision, RECIPE.rank)
    recipe = replace(RECIPE, learning_rate=1e-5)
    training = Training(half, slot, data, recipe, info, tmp_path, 7, accelerator)
    before = {name: tensor.clone() for name, tensor in training.adapter.tensors.items()}
    run(training)
    for name, tensor in training.adapter.tensors.items():
        assert tensor.dtype == torch.float32
        moved = (tensor - before[name]).abs()
        assert float(moved.max()) > 0
        assert float(moved.max()) < 1e-3
    assert {p.dtype for n, p in half.transformer.named_parameters() if "lora_" not in n} == {torch.bfloat16}
    again = Training(half, slot, data, recipe, info, tmp_path, 7, accelerator)
    run(again, 5)
    again.save()
    resumed = Training(half, slot, data, recipe, info, tmp_path, 7, accelerator)
    assert resumed.step_index == 5
    run(resumed)
    assert same(resumed, training)
    save_adapter(tmp_path / "a.safetensors", training.adapter, torch.bfloat16)
    adapter = load_adapter(tmp_path / "a.safetensors", slot, half.folder.revision, half.device)
    drawn = []
    drawing = Drawing(
        half, slot, adapter, Frame(64, 64, 3, 1.0), {0: Shot("photo", (1,))}, lambda *got: drawn.append(got)
    )
    while not drawing.finished:
        drawing.step()
    assert drawn[0][1].shape == (64, 64, 3)


def test_a_gradient_that_is_not_finite_ends_the_training_and_spares_the_adapter(
    make: Callable, base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = make(tmp_path)
    run(training, 3)
    before = {name: tensor.clone() for name, tensor in training.adapter.tensors.items()}
    original = base.transformer.forward
    monkeypatch.setattr(base.transformer, "forward", lambda **inputs: (original(**inputs)[0] * float("nan"),))
    with pytest.raises(TrainingDiverged):
        training.step()
    assert training.step_index == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.adapter.tensors.items())


def test_a_training_that_was_interrupted_a_hundred_times_ends_with_the_same_bits(
    base, slot, dataset: Dataset, make: Callable, tmp_path: Path
) -> None:
    """By others' headshots between any two steps, and every fifth time by the end of the process."""
    recipe = replace(RECIPE, steps=100, batch_size=1, ema_decay=0.9)
    straight = make(tmp_path / "straight", recipe)
    losses = run(straight)
    stranger = slot.fresh(AdapterInfo("b", "q", base.folder.revision, 8), torch.Generator().manual_seed(1))
    for name, tensor in stranger.tensors.items():
        if name.endswith("lora_B"):
            tensor.normal_(std=0.5, generator=torch.Generator().manual_seed(2))
    shots = {0: Shot("photo of sks person", (1,))}
    drawing = Drawing(base, slot, stranger, Frame(64, 64, 100, 1.0), shots, lambda index, pixels: None)
    current, done = make(tmp_path / "often", recipe), []
    for interruption in range(100):
        done.append(current.step())
        drawing.step()
        if interruption % 5 == 4:
            current.save()
            current = make(tmp_path / "often", recipe)
            assert current.resumed
    assert current.finished
    assert done == losses
    assert same(current, straight)
