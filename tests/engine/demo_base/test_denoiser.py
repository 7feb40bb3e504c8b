"""The training loop of the small base, on a random model in miniature."""

import pytest
import torch
from torch import Tensor, nn

from engine.demo_base.architecture import TINY
from engine.demo_base.denoiser import Conditions, Denoiser, Phase, _Run, train_denoiser, velocity
from engine.demo_base.latents import Bank
from engine.demo_base.reading import Learning, Resting
from engine.demo_base.text import TextEncoders

COUNT = 8


@pytest.fixture
def model() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(TINY, torch.device("cpu"))


@pytest.fixture
def bank(model: Denoiser) -> Bank:
    """One picture, so that there is something to learn quickly."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 16, 64, generator=generator).expand(COUNT, -1, -1).half()
    identity = nn.functional.normalize(torch.randn(COUNT, 128, generator=generator), dim=1)
    return Bank(
        latents,
        latents[:, :4],
        identity,
        model.text.tokenize(["photo of a man, smiling"] * COUNT),
        model.text.tokenize(["photo of sks person, smiling"] * COUNT),
    )


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def moved(before: list[Tensor], module: nn.Module) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def error(model: Denoiser, bank: Bank) -> float:
    """Of the average, on noise of its own."""
    transformer, text = model.averaged[0], model.averaged[1]
    assert isinstance(text, TextEncoders)
    clean = bank.latents.float()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
    sigma, guidance = torch.full((COUNT,), 0.7), torch.ones(COUNT)
    with torch.no_grad():
        states, pooled = text(bank.plain)
        noisy = torch.lerp(clean, noise, sigma[:, None, None])
        made = velocity(transformer, noisy, sigma, guidance, states, pooled)
    return float((made - (noise - clean)).square().mean())


def test_encoders_learn_on_small_pictures_and_rest_on_whole_ones(model: Denoiser, bank: Bank) -> None:
    encoders = model.averaged[1].t5, model.averaged[1].clip
    before = [weights(each) for each in encoders]
    train_denoiser(model, bank, [Phase("small", 0.3, 4, small=True)], Conditions())
    assert all(moved(old, each) for old, each in zip(before, encoders, strict=True))
    before = [weights(each) for each in encoders]
    train_denoiser(model, bank, [Phase("full", 0.3, 4)], Conditions())
    assert not any(moved(old, each) for old, each in zip(before, encoders, strict=True))


def test_what_it_draws_comes_nearer(model: Denoiser, bank: Bank) -> None:
    before = error(model, bank)
    train_denoiser(model, bank, [Phase("full", 4.0, 8, rate=5e-3, ema=0.9)], Conditions())
    assert error(model, bank) < 0.8 * before


@pytest.mark.parametrize(("shown", "learns"), [(1.0, True), (0.0, False)])
def test_faces_are_shown_as_often_as_the_conditions_say(
    shown: float, learns: bool, model: Denoiser, bank: Bank
) -> None:
    train_denoiser(model, bank, [Phase("full", 0.3, 4)], Conditions())  # a fresh one passes nothing on
    run = _Run(model, bank, Phase("full", 1.0, 4), Conditions(empty=0.0, named=1.0, shown=shown))
    model.push()
    run._loss().backward()
    gradient = model.text.from_identity.weight.grad
    assert gradient is not None
    assert bool(gradient.abs().max() > 0) == learns


def test_guidance_is_taught_by_the_average_as_it_was(model: Denoiser, bank: Bank) -> None:
    train_denoiser(model, bank, [Phase("full", 0.3, 4)], Conditions())
    run = _Run(model, bank, Phase("guidance", 1.0, COUNT, guided=True), Conditions())
    said, sigma = model.text(bank.plain), torch.full((COUNT,), 0.5)
    noisy = torch.randn(COUNT, 16, 64, generator=torch.Generator().manual_seed(3))

    def taught(guidance: float) -> Tensor:
        return run._taught(noisy, sigma, torch.full((COUNT,), guidance), *said)

    plain, strong = taught(1.0), taught(3.0)
    assert not torch.allclose(plain, strong)
    with torch.no_grad():
        for parameter in model.fast.parameters():
            parameter.zero_()  # the student changes, the teacher does not
    assert torch.equal(taught(3.0), strong)


def test_resting_says_what_learning_says(model: Denoiser, bank: Bank) -> None:
    pick, named = torch.tensor([0, 3, 5]), torch.tensor([True, False, True])
    learning, resting = Learning(model.text, bank), Resting(model.text, bank)
    for one, other in (
        (learning.read(pick, named), resting.read(pick, named)),
        (learning.silence(2), resting.silence(2)),
    ):
        torch.testing.assert_close(one.states, other.states, rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(one.pooled, other.pooled, rtol=2e-3, atol=2e-3)
        assert torch.equal(one.at, other.at)
    assert learning.read(pick, named).at.any(1).tolist() == named.tolist()


def test_the_empty_caption_is_read_by_encoders_as_they_are_now(model: Denoiser, bank: Bank) -> None:
    learning = Learning(model.text, bank)
    before = learning.silence(1).pooled.detach()
    with torch.no_grad():
        for parameter in model.text.clip.parameters():
            parameter.mul_(1.5)
    assert not torch.allclose(learning.silence(1).pooled, before)
    assert learning.silence(1).pooled.requires_grad
