"""The kernels inside FLUX's blocks at FLUX's sizes, against plain torch in float32; and whole lean blocks."""

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from engine import flux_kernels, flux_ops
from engine.float8 import FrozenFloat8Linear
from engine.lean_blocks import compile_blocks
from engine.lora import Adapter, AdapterInfo, AdapterSlot
from engine.quantisation import quantised
from tests.gpu.test_memory import GEOMETRY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
ROWS = (1536, 4608, 33)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, device="cuda").bfloat16()


def relative(made: Tensor, wanted: Tensor) -> float:
    return float((made.float() - wanted.float()).norm() / wanted.float().norm())


def plainly(operation: object, *given: object) -> object:
    """The same without kernels, of the same numbers in float32."""
    usable = flux_ops.usable
    flux_ops.usable = lambda _: False  # type: ignore[assignment]
    try:
        return operation(*given)  # type: ignore[operator]
    finally:
        flux_ops.usable = usable


def test_they_are_used_here() -> None:
    assert flux_ops.usable(torch.device("cuda", 0))


def test_a_kernel_is_compiled_once_for_all_numbers_of_tokens() -> None:
    cos, sin = (torch.randn(9, 128, device="cuda") for _ in range(2))
    weights = [drawn(128) for _ in range(4)]

    def all_kernels(text: int, picture: int) -> None:
        tokens, projected = text + picture, [drawn(1, text, 9216), drawn(1, picture, 9216)]
        turning = (
            projected,
            weights,
            cos.repeat(tokens, 1)[:tokens],
            sin.repeat(tokens, 1)[:tokens],
            24,
            1e-6,
        )
        turned = flux_kernels.rotate(*turning, True)
        flux_kernels.rotate_back(turned, *turning)
        flux_kernels.norm_rows(drawn(1, tokens, 3072), drawn(1, 3072), drawn(1, 3072), 1e-6, True, True)
        flux_kernels.round_rows(None, drawn(tokens, 12288), drawn(tokens, 12288), True)
        flux_kernels.add_product(drawn(tokens, 3072), drawn(tokens, 16), drawn(3072, 16))

    all_kernels(512, 1024)
    known = list(flux_kernels.compiled)
    assert known, "the count can count"
    for text, picture in ((512, 2268), (32, 1036), (16, 1), (1, 16)):
        all_kernels(text, picture)
    assert flux_kernels.compiled == known


@pytest.mark.parametrize("rows", ROWS)
def test_rows_are_rounded_as_plain_torch_rounds_them(rows: int) -> None:
    wide, wider = drawn(rows, 15360), drawn(rows, 21504)
    left, hidden, gradient = drawn(rows, 3072), wider[:, 9216:], wide[:, 3072:]
    for operation, given in (
        (flux_ops.gelu_rows, (left, hidden, True)),
        (flux_ops.gelu_rows, (None, hidden, True)),
        (flux_ops.gelu_gradient_rows, (wider[:, :9216], gradient, hidden)),
        (flux_ops.gelu_gradient_rows, (None, gradient, hidden)),
    ):
        values, rounded, scale = operation(*given)
        wanted, _, _ = plainly(operation, *given)
        assert relative(values, wanted) < 0.003
        assert relative(rounded.float() * scale, wanted) < 0.04
    for made, wanted in zip(flux_ops.quantised_rows(left), quantised(left), strict=True):
        assert relative(made, wanted) < 0.01


@pytest.mark.parametrize("tokens", ROWS)
@pytest.mark.parametrize(("keep", "rounding"), [(True, False), (False, True), (True, True)])
def test_tokens_are_normed_as_plain_torch_norms_them(tokens: int, keep: bool, rounding: bool) -> None:
    wide = drawn(2, tokens, 3 * 3072)
    given = (wide[..., 3072:6144], drawn(2, 18432)[:, :3072], drawn(2, 18432)[:, 3072:6144], 1e-6)
    values, rounded, scale = flux_ops.normed_rows(*given, keep, rounding)
    wanted, _, _ = plainly(flux_ops.normed_rows, *given, True, False)
    assert not keep or relative(values, wanted) < 0.003
    assert not rounding or relative(rounded.float() * scale, wanted.flatten(0, 1)) < 0.04


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("columns", "ranks"), [(21504, 64), (3072, 48), (12288, 16), (3072, 256)])
def test_a_product_of_low_rank_is_added(rows: int, columns: int, ranks: int) -> None:
    low, up, before = drawn(rows, ranks), drawn(columns, ranks), drawn(rows, columns)
    wanted = before.float() + low.float() @ up.float().t()
    assert relative(flux_ops.add_product(before.clone(), low, up), wanted) < 0.003
    assert relative(flux_ops.add_product(before, low, up.t().contiguous().t()), wanted) < 0.003


@pytest.mark.parametrize("lengths", [(512, 1024), (1536,), (512, 4096), (7, 26)])
def test_query_and_key_turn_as_plain_torch_turns_them(lengths: tuple[int, ...]) -> None:
    projected = [drawn(2, tokens, 21504)[..., :9216] for tokens in lengths]
    weights = [drawn(128) for _ in range(2 * len(lengths))]
    angles = torch.randn(sum(lengths), 64, device="cuda").repeat_interleave(2, dim=1)
    turning = (projected, weights, angles.cos(), angles.sin(), 24, 1e-6)
    gradients = [drawn(2, 24, sum(lengths), 128).transpose(1, 2) for _ in range(3)]
    for operation, given in (
        (flux_ops.rotated, (*turning, True)),
        (flux_ops.rotated_gradient, (*gradients, *turning)),
    ):
        for made, wanted in zip(operation(*given), plainly(operation, *given), strict=True):
            assert relative(made, wanted) < 0.004
    for made, wanted in zip(
        flux_ops.rotated(*turning, False)[:2], flux_ops.rotated(*turning, True), strict=False
    ):
        assert torch.equal(made, wanted)


def gradient(transformer: object, lean: bool, fp8: bool, compiled: bool) -> Tensor:
    slot = AdapterSlot(transformer, lean=lean)
    if fp8:
        slot.compute_with(FrozenFloat8Linear)
    if compiled:
        compile_blocks(transformer, "inductor", None)
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(slot.shape(name, 16), generator=generator) * 0.05 for name in slot.names}
    one = Adapter(AdapterInfo("a", "p", "random", 16), {name: each.cuda() for name, each in tensors.items()})
    torch.manual_seed(1)
    with slot.holding(one):
        made = transformer(  # type: ignore[operator]
            hidden_states=drawn(1, 64, 64), encoder_hidden_states=drawn(1, 32, 64),
            pooled_projections=drawn(1, 64), timestep=torch.full((1,), 0.5, device="cuda"),
            guidance=torch.ones(1, device="cuda"), img_ids=torch.zeros(64, 3, device="cuda"),
            txt_ids=torch.zeros(32, 3, device="cuda"), return_dict=False,
        )[0]  # fmt: skip
        made.float().square().mean().backward()
        return slot.gradient(16)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("cudnn", [False, True])
def test_lean_blocks_have_the_gradient_of_diffusers(compiled: bool, cudnn: bool) -> None:
    """With cuDNN's attention too, which is given gradients of one layout."""
    made = {}
    for kind, (lean, fp8) in {
        "theirs": (False, False),
        "ours": (True, False),
        "float8": (True, True),
    }.items():
        torch.manual_seed(0)
        transformer = FluxTransformer2DModel(**GEOMETRY).to("cuda", torch.bfloat16).requires_grad_(False)
        torch.backends.cuda.enable_cudnn_sdp(cudnn and lean)
        made[kind] = gradient(transformer, lean, fp8, compiled and lean)
    assert flux_kernels.HAS_TRITON
    assert relative(made["ours"], made["theirs"]) < 0.03
    assert relative(made["float8"], made["theirs"]) < 0.1


def test_switched_off_none_of_them_is_launched_and_float8_computes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flux_ops, "_allowed", True)  # as it is after the test
    monkeypatch.setattr(flux_kernels, "round_rows", lambda *_: pytest.fail("launched"))
    flux_ops.allow_kernels(False)
    made = []
    for fp8 in (False, True):
        torch.manual_seed(0)
        transformer = FluxTransformer2DModel(**GEOMETRY).to("cuda", torch.bfloat16).requires_grad_(False)
        made.append(gradient(transformer, flux_ops.usable(torch.device("cuda", 0)), fp8, False))
    assert 0 < relative(made[1], made[0]) < 0.1
