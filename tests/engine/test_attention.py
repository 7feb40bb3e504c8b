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
    chosen = choose(CPU, torch.float32, 2, 16, 32, measured([2.0, 1.0, 1.0, 2.0]))
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
    chosen = choose(CPU, torch.float32, 2, 16, 32, measured([1.0] * 9))
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
    assert choose(CPU, torch.float32, 2, 16, 32, measured([1.0] * 9)) == Attention("flash", "flash")


def test_cudnn_is_never_offered_for_training() -> None:
    assert "cudnn" in module.DRAWING
    assert "cudnn" not in module.TRAINING


def test_without_a_choice_nothing_is_changed() -> None:
    before = torch.backends.cuda.flash_sdp_enabled()
    Attention().use_for_training()
    with Attention().while_drawing():
        assert torch.backends.cuda.flash_sdp_enabled() == before


def test_the_choice_for_drawing_ends_with_it() -> None:
    before = torch.backends.cuda.flash_sdp_enabled()
    with Attention(drawing="math").while_drawing():
        assert not torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.flash_sdp_enabled() == before


@pytest.fixture
def switches():
    """As they were, afterwards."""
    cuda = torch.backends.cuda
    before = cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled()
    yield
    cuda.enable_flash_sdp(before[0])
    cuda.enable_mem_efficient_sdp(before[1])
    cuda.enable_math_sdp(before[2])


@pytest.mark.parametrize(
    ("name", "left"),
    [("flash", (True, True, True)), ("efficient", (False, True, True)), ("math", (False, False, True))],
)
def test_in_training_no_kernel_goes_before_the_chosen_one(switches, name: str, left: tuple) -> None:
    """torch prefers flash to efficient to math; those after it take the shapes that it does not."""
    Attention(training=name).use_for_training()
    cuda = torch.backends.cuda
    assert (cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled()) == left


def test_who_is_about_to_draw_can_measure_too() -> None:
    with torch.no_grad():
        chosen = choose(CPU, torch.float32, 2, 16, 32, measured([2.0, 1.0, 1.0, 2.0]))
    assert chosen == Attention(training="math", drawing="flash")
