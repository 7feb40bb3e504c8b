"""The branch is exactly B A beside its linear, trains in float32 beside any base, and can be switched off."""

import pytest
import torch
from torch import nn

from engine.branch import Branch


@pytest.fixture
def branch() -> Branch:
    torch.manual_seed(1)
    made = Branch(nn.Linear(8, 6).requires_grad_(False))
    made.lora_A.data, made.lora_B.data = torch.randn(2, 8), torch.randn(6, 2)
    return made


def test_it_adds_b_a_where_it_takes_part(branch: Branch) -> None:
    rows = torch.randn(3, 8)
    bare = branch.base_layer(rows)
    assert torch.equal(branch(rows), bare)
    branch.enabled = True
    assert torch.allclose(branch(rows), bare + rows @ (branch.lora_B @ branch.lora_A).t(), atol=1e-5)


def test_beside_bfloat16_it_keeps_its_own_type_and_gets_gradients_in_it(branch: Branch) -> None:
    branch.base_layer.bfloat16()
    branch.enabled = True
    made = branch(torch.randn(3, 8, dtype=torch.bfloat16))
    assert made.dtype == torch.bfloat16
    made.float().square().sum().backward()
    for parameter in (branch.lora_A, branch.lora_B):
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert bool(parameter.grad.any())
    assert branch.base_layer.weight.grad is None


def test_a_graph_of_it_has_no_breaks(branch: Branch) -> None:
    branch.enabled = True
    rows = torch.randn(3, 8)
    compiled = torch.compile(branch, backend="eager", fullgraph=True)
    assert torch.equal(compiled(rows), branch(rows))
