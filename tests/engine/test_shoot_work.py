"""A shoot as work: more are drawn than asked, the best are delivered, the others leave no trace."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.beside import Beside
from engine.candidates import Opinion
from engine.errors import AdapterCorrupt, FaceModelUnusable, NothingToShow
from engine.inspection import Inspection
from engine.likeness import pack_identity
from engine.lora import AdapterInfo, save_adapter
from engine.messages import HeadshotsMade, MakeHeadshots, Picture, Progress
from engine.pictures import write_picture
from engine.shelf import AdapterShelf
from engine.shoot_work import MOST_BEHIND, ShootWork
from engine.work import Work
from tests.engine.at_once import AtOnce, Later
from tests.engine.inspections import NO_FACE, PERSON, seen

Judge = Callable[[int], Inspection]


class Eyes:
    """Stands for the inspector: what it sees in a picture is told by the order in which they were drawn, and
    stays the same for the same pixels."""

    def __init__(self, judge: Judge) -> None:
        self.judge, self.order = judge, dict[bytes, int]()

    def inspect(self, pixels: np.ndarray) -> Inspection:
        return self.judge(self.order.setdefault(pixels.tobytes(), len(self.order)))


@pytest.fixture
def adapter(base, slot, tmp_path: Path) -> Path:
    info = AdapterInfo("adapter-a", "ada", base.folder.revision, 4, facts=pack_identity(PERSON))
    path = tmp_path / "a.safetensors"
    save_adapter(path, slot.fresh(info, torch.Generator().manual_seed(1)))
    return path


@pytest.fixture
def shoot(base, slot, adapter: Path, tmp_path: Path) -> Callable[..., ShootWork]:
    shelf = AdapterShelf(slot, base.folder.revision, base.device)

    def make(
        eyes: Eyes, count: int = 2, most: int = 3, person: str = "ada", out: str = "out",
        finish=write_picture, thread=None, **more,
    ) -> ShootWork:  # fmt: skip
        request = MakeHeadshots(
            "s",
            person,
            "adapter-a",
            str(adapter),
            "photo of {subject}",
            count,
            1,
            str(tmp_path / out),
            **more,
        )
        beside = Beside(thread or AtOnce(), lambda: None)
        return ShootWork(request, base, slot, shelf, eyes, finish, beside, most)

    return make


def run(work: Work, quanta: int = 10_000) -> list:
    replies = []
    while quanta and (not replies or isinstance(replies[-1], Progress)):
        replies.append(work.quantum())
        quanta -= 1
    return replies


def seeds(made: HeadshotsMade) -> list[list[int]]:
    return [picture.facts["seeds"] for picture in made.pictures]


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(picture.path)).astype(int)


def test_twice_as_many_are_drawn_and_the_best_are_delivered(shoot: Callable, tmp_path: Path) -> None:
    eyes = Eyes(lambda n: seen([0.5, 0.9, 0.6, 0.8][n]))
    made = run(shoot(eyes))[-1]
    assert isinstance(made, HeadshotsMade)
    assert [picture.likeness for picture in made.pictures] == [0.9, 0.8]
    assert (made.tried, made.reached, made.lacking) == (4, 2, ())
    assert [Path(picture.path).name[-6:] for picture in made.pictures] == ["-0.jpg", "-1.jpg"]


def test_what_was_not_chosen_leaves_no_trace(shoot: Callable, tmp_path: Path) -> None:
    run(shoot(Eyes(lambda n: seen())))
    assert sorted(path.suffix for path in (tmp_path / "out").rglob("*")) == [".jpg", ".jpg", ".json"]


def test_it_draws_on_until_enough_are_good_but_not_for_ever(shoot: Callable) -> None:
    late = run(shoot(Eyes(lambda n: seen() if n >= 4 else NO_FACE)))[-1]
    assert (late.tried, late.reached, late.lacking) == (6, 2, ())
    never = run(shoot(Eyes(lambda n: seen(0.2 + n / 100)), out="never"))[-1]
    assert (never.tried, never.reached, never.lacking) == (6, 0, ("unlike",))
    assert [picture.likeness for picture in never.pictures] == [0.25, 0.24], "the nearest, and it is said"


def test_what_is_unsafe_is_never_delivered(shoot: Callable, tmp_path: Path) -> None:
    made = run(shoot(Eyes(lambda n: seen(unsafe=0.9 if n else 0.0))))[-1]
    assert len(made.pictures) == 1
    assert made.lacking == ("unsafe",)
    with pytest.raises(NothingToShow):
        run(shoot(Eyes(lambda n: seen(unsafe=0.9)), out="none"))
    assert not list((tmp_path / "none").rglob("*.png"))


def test_progress_counts_up_and_ends_at_one(shoot: Callable) -> None:
    replies = run(shoot(Eyes(lambda n: seen() if n >= 5 else NO_FACE)))[:-1]
    fractions = [reply.fraction for reply in replies]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.mark.parametrize("killed_after", [1, 4, 5, 6, 9, 10, 11, 12])
def test_a_shoot_that_was_killed_gives_the_same_pictures(shoot: Callable, killed_after: int) -> None:
    """Five quanta a round (four denoising steps and the decoding), then one to mark what is delivered."""
    eyes = Eyes(lambda n: seen(0.5 + n / 50) if n % 4 == 1 else seen(0.2 + n / 50))
    whole = run(shoot(eyes, out="whole"))[-1]
    run(shoot(eyes, out="cut"), quanta=killed_after)
    again = run(shoot(eyes, out="cut"))[-1]
    assert seeds(again) == seeds(whole)
    assert (again.tried, again.reached, again.lacking) == (whole.tried, whole.reached, whole.lacking)
    for one, other in zip(whole.pictures, again.pictures, strict=True):
        assert np.array_equal(pixels(one), pixels(other))


def test_asked_again_it_answers_from_what_is_there(shoot: Callable) -> None:
    eyes = Eyes(lambda n: seen(0.5 + n / 50))
    made = run(shoot(eyes))[-1]
    again = run(shoot(eyes))
    assert again == [made]
    Path(made.pictures[1].path).unlink()
    assert seeds(run(shoot(eyes))[-1]) == seeds(made), "drawn anew"
    other = run(shoot(eyes, count=1))
    assert len(other) > 1, "another request is another shoot"


def test_more_like_this_and_not_me_change_what_is_drawn_and_chosen(shoot: Callable) -> None:
    eyes = Eyes(lambda n: seen(0.6))
    first = run(shoot(eyes))[-1]
    liked, disliked = first.pictures[0].facts, first.pictures[1].facts
    second = run(shoot(eyes, out="second", liked=(liked,), disliked=(disliked,)))[-1]
    drawn = seeds(second)
    assert disliked["seeds"] not in drawn
    assert any(lineage[:-1] == liked["seeds"] for lineage in drawn)
    near = next(picture for picture in second.pictures if picture.facts["seeds"][:-1] == liked["seeds"])
    far = next(picture for picture in second.pictures if len(picture.facts["seeds"]) == 1)
    origin = pixels(first.pictures[0])
    if far.facts["seeds"] != liked["seeds"]:
        assert np.abs(pixels(near) - origin).mean() < np.abs(pixels(far) - origin).mean()
    assert Opinion.of(near.facts).seeds == (*liked["seeds"], near.seed)


def test_nobody_shoots_with_somebody_elses_adapter(shoot: Callable, tmp_path: Path) -> None:
    with pytest.raises(AdapterCorrupt, match="another person"):
        shoot(Eyes(lambda n: seen()), person="eve", out="eve-out").quantum()
    assert not (tmp_path / "eve-out").exists()


def test_nothing_half_written_is_left_when_the_disk_is_full(shoot: Callable, tmp_path: Path) -> None:
    def full(path: Path, pixels: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    eyes = Eyes(lambda n: seen())
    with pytest.raises(OSError, match="No space"):
        run(shoot(eyes, finish=full))
    assert not list((tmp_path / "out").glob("*.jpg"))
    assert len(run(shoot(eyes))[-1].pictures) == 2, "what was drawn is still there"


def until_it_waits(work: Work) -> int:
    """Quanta before one that could only wait."""
    for quanta in range(1000):
        if work.waiting:
            return quanta
        assert isinstance(work.quantum(), Progress)
    raise AssertionError("it never waits")


def test_nothing_is_decided_before_everything_that_was_drawn_is_seen(shoot: Callable) -> None:
    eyes, thread = Eyes(lambda n: seen() if n >= 2 else NO_FACE), Later()
    work = shoot(eyes, thread=thread)
    assert until_it_waits(work) == 4 + 4, "all four are drawn together, and each is decoded"
    for _ in range(4):
        assert until_it_waits(work) == 0
        assert thread.waiting
        thread.do()
    assert until_it_waits(work) == 1, "it chooses, and the two that are good are being marked"
    assert thread.waiting == 2
    thread.do(2)
    made = work.quantum()
    assert isinstance(made, HeadshotsMade)
    assert (made.tried, made.reached) == (4, 2)


def test_it_draws_on_while_pictures_are_kept_but_not_many_ahead(shoot: Callable, slot, monkeypatch) -> None:
    monkeypatch.setattr(slot, "batch_tokens", 2 * 16)
    thread = Later()
    work = shoot(Eyes(lambda n: seen()), count=10, thread=thread)
    assert until_it_waits(work) == (4 + 2) * MOST_BEHIND / 2
    assert thread.waiting == MOST_BEHIND
    thread.do()
    assert until_it_waits(work) == 4 + 1, "one of the next two"
    assert thread.waiting == MOST_BEHIND


@pytest.mark.parametrize("kept", range(4))
def test_what_was_not_kept_before_a_crash_is_drawn_again(
    shoot: Callable, slot, monkeypatch, kept: int
) -> None:
    monkeypatch.setattr(slot, "batch_tokens", 1)  # in another batch a picture is the same but for rounding
    eyes, thread = Eyes(lambda n: seen(0.5 + n / 50)), Later()
    whole = run(shoot(eyes, out="whole"))[-1]
    until_it_waits(shoot(eyes, out="cut", thread=thread))
    thread.do(kept)
    again = run(shoot(eyes, out="cut"))
    looking, marking = int(kept > 0), 1
    assert len(again[:-1]) == looking + 5 * (4 - kept) + marking
    assert seeds(again[-1]) == seeds(whole)
    for one, other in zip(whole.pictures, again[-1].pictures, strict=True):
        assert np.array_equal(pixels(one), pixels(other))


def test_stopping_brings_what_was_drawn_to_the_disk(shoot: Callable, tmp_path: Path) -> None:
    with ThreadPoolExecutor(max_workers=1) as thread:
        work = shoot(Eyes(lambda n: seen()), thread=thread)
        run(work, quanta=4 + 4)
        work.checkpoint()
        assert len(list((tmp_path / "out").rglob("*.png"))) == 4


def test_what_goes_wrong_beside_the_gpu_ends_the_shoot(shoot: Callable, tmp_path: Path) -> None:
    def unusable(_: int) -> Inspection:
        raise FaceModelUnusable("model.onnx", "is missing", "put it back")

    thread = Later()
    work = shoot(Eyes(unusable), thread=thread)
    until_it_waits(work)
    thread.do()
    with pytest.raises(FaceModelUnusable):
        work.quantum()
    work.close()
    assert thread.waiting == 0
    thread.do(3)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1, "nothing more was written"
