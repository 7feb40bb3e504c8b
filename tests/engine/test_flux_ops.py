"""What FLUX's blocks compute in few kernels is what the field's own layers compute, and its gradients are
autograd's."""

from collections.abc import Callable

import pytest
import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor
from torch.nn import functional

from engine import flux_ops
from engine.flux_ops import (
    add_product,
    allow_kernels,
    gelu_gradient_rows,
    gelu_rows,
    normed_rows,
    quantised_rows,
    rotated,
    rotated_gradient,
    usable,
)
from engine.quantisation import quantised

HEADS, WIDTH, EPS = 3, 16, 1e-6
TEXT, PICTURE = 4, 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def part_of(*shape: int, seed: int = 0) -> Tensor:
    """Columns of a wider matrix, as a block has them."""
    return drawn(*shape[:-1], shape[-1] + 32, seed=seed)[..., 16:-16]


@pytest.mark.parametrize("left", [None, part_of(7, 48, seed=1)])
def test_gelu_is_taken_of_the_right_and_all_of_it_is_rounded(left: Tensor | None) -> None:
    hidden = part_of(7, 64)
    active = functional.gelu(hidden, approximate="tanh")
    wanted = active if left is None else torch.cat([left, active], dim=1)
    values, rounded, scale = gelu_rows(left, hidden, True)
    assert torch.allclose(values, wanted, atol=1e-6)
    for made, exact in zip((rounded, scale), quantised(wanted), strict=True):
        assert torch.allclose(made.float(), exact.float(), rtol=1e-5)
    nothing, again, _ = gelu_rows(left, hidden, False)
    assert nothing.numel() == 0
    assert torch.equal(again.float(), rounded.float())


def test_gelus_gradient_is_autograds() -> None:
    hidden, gradient, left = part_of(7, 64) * 3, part_of(7, 64, seed=1), part_of(7, 48, seed=2)
    leaf = hidden.clone().requires_grad_()
    functional.gelu(leaf, approximate="tanh").backward(gradient)
    values, rounded, scale = gelu_gradient_rows(left, gradient, hidden)
    assert torch.equal(values[:, :48], left)
    assert torch.allclose(values[:, 48:], leaf.grad, atol=1e-5)
    assert torch.allclose(rounded.float() * scale, values, rtol=0.07, atol=float(scale.max()) * 2**-9)


def test_a_gradient_far_from_zero_is_a_number() -> None:
    hidden = torch.tensor([[-40.0, -10.0, 0.0, 10.0, 40.0] + [0.0] * 11])
    values, _, _ = gelu_gradient_rows(None, torch.ones_like(hidden), hidden)
    assert torch.allclose(values[0, :5], torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]), atol=1e-5)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("rounding", [True, False])
def test_tokens_are_normed_and_modulated_as_the_fields_blocks_do(keep: bool, rounding: bool) -> None:
    hidden, shift, scale = part_of(2, 5, 64), part_of(2, 64, seed=1), part_of(2, 64, seed=2)
    wanted = functional.layer_norm(hidden, (64,), eps=EPS) * (1 + scale[:, None]) + shift[:, None]
    values, rounded, scales = normed_rows(hidden, shift, scale, EPS, keep, rounding)
    assert values.shape == (wanted.shape if keep else (0,))
    assert not keep or torch.allclose(values, wanted, atol=1e-5)
    assert (rounded.shape, scales.shape) == (((10, 64), (10, 1)) if rounding else ((0, 64), (0, 1)))
    if rounding:
        for made, exact in zip((rounded, scales), quantised(wanted.flatten(0, 1)), strict=True):
            assert torch.allclose(made.float(), exact.float(), rtol=0.07, atol=1e-5)


def test_a_product_of_low_rank_is_added_in_place() -> None:
    out, low, other = drawn(7, 48), drawn(7, 4, seed=1), drawn(48, 4, seed=2)
    wanted = out + low @ other.t()
    assert add_product(out, low, other) is out
    assert torch.allclose(out, wanted, atol=1e-5)


def by_layers(projected: list[Tensor], weights: list[Tensor], angles: tuple[Tensor, Tensor]) -> list[Tensor]:
    """As diffusers' attention has it."""
    parts = [[each.unflatten(-1, (HEADS, -1)) for each in given.chunk(3, dim=-1)] for given in projected]
    made = []
    for kind in range(3):
        normed = [
            part[kind] if kind == 2 else functional.rms_norm(part[kind], (WIDTH,), weights[2 * i + kind], EPS)
            for i, part in enumerate(parts)
        ]
        joined = torch.cat(normed, dim=1)
        made.append(joined if kind == 2 else apply_rotary_emb(joined, angles, sequence_dim=1))
    return made


@pytest.fixture(params=[1, 2], ids=["one", "two"])
def given(request: pytest.FixtureRequest) -> tuple[list[Tensor], list[Tensor], tuple[Tensor, Tensor]]:
    """Of two pictures: what is projected, the norms' weights, the angles."""
    lengths = [TEXT, PICTURE][-request.param :]
    projected = [part_of(2, tokens, 3 * HEADS * WIDTH, seed=tokens) for tokens in lengths]
    weights = [drawn(WIDTH, seed=9 + index) for index in range(2 * len(lengths))]
    angles = drawn(sum(lengths), WIDTH // 2, seed=20).repeat_interleave(2, dim=1)
    return projected, weights, (angles.cos(), angles.sin())


def test_query_and_key_are_normed_and_turned_as_diffusers_does(given) -> None:
    projected, weights, angles = given
    made = rotated(projected, weights, *angles, HEADS, EPS, True)
    for mine, theirs in zip(made, by_layers(projected, weights, angles), strict=True):
        assert mine.is_contiguous()
        assert torch.allclose(mine, theirs, atol=1e-5)
    query, key, nothing = rotated(projected, weights, *angles, HEADS, EPS, False)
    assert torch.equal(query, made[0])
    assert torch.equal(key, made[1])
    assert nothing.numel() == 0


def test_their_gradients_are_autograds(given) -> None:
    projected, weights, angles = given
    leaves = [each.clone().requires_grad_() for each in projected]
    made = by_layers(leaves, weights, angles)
    tokens = made[0].shape[1]
    # As attention gives them: heads before tokens.
    gradients = [drawn(2, HEADS, tokens, WIDTH, seed=30 + kind).transpose(1, 2) for kind in range(3)]
    torch.autograd.backward(made, gradients)
    found = rotated_gradient(*gradients, projected, weights, *angles, HEADS, EPS)
    for mine, leaf in zip(found, leaves, strict=True):
        assert torch.allclose(mine, leaf.grad, atol=1e-4)


def compiled(act: Callable[..., object], *given: object) -> object:
    torch._dynamo.reset()  # each by itself: it stops after so many
    return torch.compile(act, backend="aot_eager", fullgraph=True, dynamic=True)(*given)


def test_a_compiler_takes_them_as_they_are(given) -> None:
    hidden, turning = part_of(7, 64), (*given[:2], *given[2], HEADS, EPS)
    for operation, arguments in (
        (gelu_rows, (None, hidden, True)),
        (gelu_gradient_rows, (None, hidden, hidden)),
        (quantised_rows, (hidden,)),
        (normed_rows, (hidden[None], hidden[:1], hidden[1:2], EPS, True, True)),
        (normed_rows, (hidden[None], hidden[:1], hidden[1:2], EPS, False, False)),
        (rotated, (*turning, True)),
        (rotated, (*turning, False)),
    ):
        for mine, theirs in zip(compiled(operation, *arguments), operation(*arguments), strict=True):
            assert (mine.shape, mine.stride(), mine.dtype) == (theirs.shape, theirs.stride(), theirs.dtype)
            assert torch.equal(mine.float(), theirs.float())


def test_a_cpu_has_no_kernels() -> None:
    assert not usable(torch.device("cpu"))


def test_kernels_that_are_not_allowed_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    here, rows = torch.device("cpu"), torch.randn(3, 16)
    monkeypatch.setattr(flux_ops, "_right", lambda _: True)
    monkeypatch.setattr(flux_ops.flux_kernels, "round_rows", lambda *_: [torch.empty(0) for _ in range(3)])
    assert usable(here)
    assert quantised_rows(rows)[0].numel() == 0
    monkeypatch.setattr(flux_ops, "_allowed", True)  # as it is after the test
    allow_kernels(False)
    assert not usable(here)
    assert torch.equal(quantised_rows(rows)[1], quantised(rows)[1])


@pytest.mark.parametrize("fault", ["wrong", "broken"])
def test_kernels_that_are_wrong_or_do_not_compile_are_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    def round_rows(left: Tensor | None, given: Tensor | None, hidden: Tensor | None, keep: bool) -> object:
        if fault == "broken":
            raise RuntimeError("no C compiler")
        width = sum(each.shape[1] for each in (left, hidden) if each is not None)
        return torch.zeros(5, width), *quantised(torch.zeros(5, width))

    monkeypatch.setattr(flux_ops.flux_kernels, "HAS_TRITON", True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(flux_ops.flux_kernels, "round_rows", round_rows)
    monkeypatch.setattr(flux_ops.flux_kernels, "rotate", lambda *given: rotated(*given))
    monkeypatch.setattr(
        flux_ops.flux_kernels, "rotate_back", lambda three, *given: rotated_gradient(*three, *given)
    )
    monkeypatch.setattr(flux_ops.flux_kernels, "norm_rows", lambda *given: normed_rows(*given))
    monkeypatch.setattr(flux_ops.flux_kernels, "add_product", lambda out, *two: out.addmm(two[0], two[1].t()))
    monkeypatch.setattr(flux_ops, "_brought", lambda given, _: given)
    card = type("Card", (), {"type": "cuda", "__hash__": lambda _: 1})()
    assert not flux_ops._right.__wrapped__(card)
    wrong = [record for record in caplog.records if record.msg == "flux_kernels_are_wrong"]
    assert caplog.messages == [{"wrong": "flux_kernels_are_wrong", "broken": "no_flux_kernels"}[fault]]
    if fault == "wrong":
        assert wrong[0].which == ["gelu_rows", "gelu_gradient_rows", "quantised_rows"]
