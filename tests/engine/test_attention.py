"""The fastest kernel that computes the right thing, and never one that cannot train for training."""

import pytest
import torch
from torch.nn.attention import SDPBackend

from engine import attention as module
from engine.attention import Attention, choose

CPU = torch.device("cpu")


def measured(seconds: list[float]):
    """Stands for a clock: the calls take these, in order."""
    left = list(seconds)

    def measure(call) -> float:
        call()
        return left.pop(0)

    return measure


def test_the_fastest_of_those_that_work_is_taken() -> None:
    # On a CPU flash and math exist; cudnn and efficient do not and are left out.
    chosen = choose(CPU, torch.float32, 2, 16, [32], measured([2.0, 1.0, 1.0, 2.0]))
    assert chosen == Attention(training="math", drawing="flash")


def test_one_that_computes_nonsense_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    original, inside = module.scaled_dot_product_attention, []

    def broken(*inputs: torch.Tensor) -> torch.Tensor:
        made = original(*inputs)
        return made * float("nan") if inside and inside[-1] == SDPBackend.FLASH_ATTENTION else made

    class Kernel:
        def __init__(self, kernel: SDPBackend) -> None:
            self.kernel = kernel

        def __enter__(self) -> None:
            inside.append(self.kernel)

        def __exit__(self, *_: object) -> None:
            inside.pop()

    monkeypatch.setattr(module, "scaled_dot_product_attention", broken)
    monkeypatch.setattr(module, "sdpa_kernel", Kernel)
    chosen = choose(CPU, torch.float32, 2, 16, [32], measured([1.0] * 9))
    assert "flash" not in (chosen.training, chosen.drawing)


def test_where_the_plain_computation_of_all_heads_has_no_room_the_others_are_chosen_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a small card."""
    original = module.scaled_dot_product_attention

    def crowded(query: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        if query.shape[1] > 1 and not torch.backends.cuda.flash_sdp_enabled():
            raise torch.OutOfMemoryError("no room for all scores")
        return original(query, *others)

    monkeypatch.setattr(module, "scaled_dot_product_attention", crowded)
    assert choose(CPU, torch.float32, 2, 16, [32], measured([1.0] * 9)) == Attention("flash", "flash")


def test_cudnn_can_be_given_up_for_training_alone() -> None:
    assert Attention("cudnn", "cudnn").without_cudnn() == Attention("flash", "cudnn")
    assert Attention("efficient", "cudnn").without_cudnn() == Attention("efficient", "cudnn")


def test_without_a_choice_nothing_is_changed() -> None:
    before = torch.backends.cuda.flash_sdp_enabled()
    with Attention().while_training(), Attention().while_drawing():
        assert torch.backends.cuda.flash_sdp_enabled() == before


@pytest.mark.parametrize("name", ["cudnn", "flash", "efficient", "math"])
@pytest.mark.parametrize("what", ["training", "drawing"])
def test_the_chosen_one_goes_first_and_the_safe_ones_follow(name: str, what: str) -> None:
    def now() -> tuple[list[int], bool]:
        return list(torch._C._get_sdp_priority_order()), torch.backends.cuda.cudnn_sdp_enabled()

    before = now()
    with getattr(Attention(**{what: name}), f"while_{what}")():
        order, cudnn = now()
        assert order[0] == int(module.KERNELS[name])
        assert cudnn == (name == "cudnn")
        assert torch.backends.cuda.flash_sdp_enabled()
        assert torch.backends.cuda.math_sdp_enabled()
    assert now() == before


def test_drawing_between_two_steps_of_a_training_leaves_its_choice() -> None:
    with Attention("cudnn", "flash").while_training():
        order = torch._C._get_sdp_priority_order()
        with Attention("cudnn", "flash").while_drawing():
            assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.cudnn_sdp_enabled()
        assert torch._C._get_sdp_priority_order() == order


def test_what_the_chosen_one_cannot_do_another_does() -> None:
    """As T5's attention with its bias, beside cuDNN: on a CPU cuDNN can do nothing at all."""
    query, bias = torch.randn(1, 2, 8, 4), torch.randn(1, 2, 8, 8)
    wanted = module.scaled_dot_product_attention(query, query, query, attn_mask=bias)
    with Attention(drawing="cudnn").while_drawing():
        made = module.scaled_dot_product_attention(query, query, query, attn_mask=bias)
    assert torch.allclose(made, wanted, atol=1e-6)


def test_who_is_about_to_draw_can_measure_too() -> None:
    with torch.no_grad():
        chosen = choose(CPU, torch.float32, 2, 16, [32], measured([2.0, 1.0, 1.0, 2.0]))
    assert chosen == Attention(training="math", drawing="flash")
