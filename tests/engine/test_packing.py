"""An adapter's numbers lie where lean branches compute with them, and their gradients come back in order."""

import pytest
import torch

from engine.packing import Member, Packing

CPU = torch.device("cpu")
RANK = 2
# Two linears of one input, and one alone whose numbers lie between theirs.
FIRST, ALONE, SECOND = Member(0, 6, 4), Member(20, 3, 5), Member(36, 8, 4)
COUNT = 36 + RANK * 12


@pytest.fixture
def packing() -> Packing:
    return Packing([[FIRST, SECOND], [ALONE]], RANK, CPU)


def halves(flat: torch.Tensor, member: Member) -> tuple[torch.Tensor, torch.Tensor]:
    middle = member.first + RANK * member.inputs
    down = flat[member.first : middle].view(RANK, member.inputs)
    return down, flat[middle : middle + RANK * member.outputs].view(member.outputs, RANK)


def test_the_branch_is_each_linears_own_beside_the_others(packing: Packing) -> None:
    flat, rows = torch.randn(COUNT), torch.randn(7, 4)
    down, up, *alone = packing.parts(flat, torch.float32)
    wanted = [rows @ a.t() @ b.t() for a, b in (halves(flat, FIRST), halves(flat, SECOND))]
    assert torch.allclose(rows @ down.t() @ up.t(), torch.cat(wanted, dim=1), atol=1e-6)
    assert all(torch.equal(made, given) for made, given in zip(alone, halves(flat, ALONE), strict=True))


def test_they_are_rounded_to_the_bases_type(packing: Packing) -> None:
    flat = torch.randn(COUNT)
    for part in packing.parts(flat, torch.bfloat16):
        assert part.dtype == torch.bfloat16
    assert torch.equal(packing.flat(packing.parts(flat, torch.bfloat16)), flat.bfloat16().float())


def test_gradients_come_back_in_the_adapters_order_without_those_of_the_padding(packing: Packing) -> None:
    flat = torch.randn(COUNT, requires_grad=True)
    rows = torch.randn(7, 4)
    (a, b), (c, d) = halves(flat, FIRST), halves(flat, SECOND)
    torch.cat([rows @ a.t() @ b.t(), rows @ c.t() @ d.t()], dim=1).square().sum().backward()
    parts = [part.clone().requires_grad_() for part in packing.parts(flat.detach(), torch.float32)]
    (rows @ parts[0].t() @ parts[1].t()).square().sum().backward()
    made = packing.flat([torch.zeros_like(part) if part.grad is None else part.grad for part in parts])
    assert torch.allclose(made, flat.grad, atol=1e-4)
    assert bool((made != 0).any())
