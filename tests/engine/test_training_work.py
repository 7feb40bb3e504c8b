"""A training as work: what each quantum replies, what is looked at, kept and told; nothing is lost."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine import trainer as trainer_module
from engine import training_work as module
from engine.curve import Curve, Point
from engine.errors import NotEnoughSelfies
from engine.inspection import Inspection
from engine.lora import read_info
from engine.merging import Serving
from engine.messages import AdapterTrained, Progress, TrainAdapter
from engine.presets import recipe_for
from engine.prior import CAPTIONS
from engine.selfies import split_selfies, usable_selfies
from engine.trainer import CHECKPOINT_FILE
from engine.training_work import CURVE, TrainingWork, trained
from engine.validation import ValidationPlan
from engine.work import Work
from tests.engine.facts import facts
from tests.engine.inspections import seen

EVERY = 10


class Script:
    """Stands for the inspector: each look at the adapter finds the likeness that the script has for it."""

    def __init__(self, person: np.ndarray, *likeness: float) -> None:
        self.person, self.likeness, self.inspected = person, likeness, 0
        self.contrast: tuple[float, ...] = ()  # what the prompt still does at each look; nothing said = 0

    def face(self, pixels: np.ndarray) -> object:
        return seen().face

    def inspect(self, pixels: np.ndarray) -> Inspection:
        look = self.inspected // 4
        self.inspected += 1
        across = np.eye(128, dtype=np.float32)[3]
        across -= (across @ self.person) * self.person
        cosine = self.likeness[look]
        identity = cosine * self.person + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across)
        noise = np.random.default_rng(self.inspected).integers(0, 256, (40, 40)).astype(np.uint8)
        half = (self.contrast[look] if self.contrast else 0.0) / 2
        backdrop = 0.5 + (half if (self.inspected - 1) % 4 < 2 else -half)
        return seen(identity=identity.astype(np.float32), thumbnail=noise, backdrop=backdrop)


@pytest.fixture
def train(base, slot, accelerator, tmp_path: Path, monkeypatch) -> Callable[..., TrainingWork]:
    def make(
        photos: list[str],
        likeness: tuple[float, ...] = (),
        known: dict | None = None,
        out: str = "a",
        looking: tuple | None = None,
        **switches: float,
    ) -> TrainingWork:
        request = TrainAdapter(
            "t", "ada", "adapter-a", tuple(photos), str(tmp_path / f"{out}-work"),
            str(tmp_path / f"{out}.safetensors"), known or {}, seed=3,
        )  # fmt: skip
        recipe = replace(recipe_for("balanced", base.settings), steps=60, **switches)
        of = ValidationPlan.of
        monkeypatch.setattr(module.ValidationPlan, "of", lambda *given: replace(of(*given), every=EVERY))
        monkeypatch.setattr(module, "TRAINING_QUANTUM_SECONDS", 0.0)
        held_out = split_selfies(usable_selfies(request.photos, request.facts)).held_out
        person = held_out[0].facts.identity if held_out else np.zeros(128, np.float32)
        script = Script(person / max(np.linalg.norm(person), 1e-6), *likeness)
        return TrainingWork(request, base, slot, recipe, accelerator, script, looking=looking)

    return make


@pytest.fixture
def selfies(coloured_photos: Callable) -> tuple[list[str], dict]:
    """Seven photos with the facts of one person; one of them is held out."""
    photos = coloured_photos((200, 60, 60), 7)
    known = {
        Path(path).stem: facts(0, shot, box=(20.0, 20.0, 50.0, 60.0)).to_json()
        for shot, path in enumerate(photos)
    }
    return photos, known


def run(work: Work, quanta: int = 10_000) -> list:
    replies = []
    while quanta and (not replies or isinstance(replies[-1], Progress)):
        replies.append(work.quantum())
        quanta -= 1
    return replies


def points(done: AdapterTrained) -> list[tuple[int, float]]:
    return [(point["step"], round(point["likeness"], 1)) for point in done.facts[CURVE]]


def test_a_training_prepares_trains_and_leaves_nothing_but_the_adapter(
    train: Callable, coloured_photos: Callable, tmp_path: Path
) -> None:
    replies = run(train(coloured_photos((200, 60, 60), 4)))
    stages = [reply.stage for reply in replies[:-1]]
    assert stages[:4] == ["preparing"] * 4
    assert [reply.step for reply in replies[:4]] == [1, 2, 3, 4]
    done = replies[-1]
    assert isinstance(done, AdapterTrained)
    assert (done.steps, done.likeness, done.advice) == (60, "", ())
    assert done.facts["photos"] == 4
    assert done.facts[CURVE] == [], "nothing is known of these photos: there is nothing to measure by"
    assert read_info(tmp_path / "a.safetensors").person_id == "ada"
    assert list((tmp_path / "a-work").iterdir()) == [] if (tmp_path / "a-work").exists() else True


def test_a_photo_that_cannot_be_read_is_left_out(
    train: Callable, coloured_photos: Callable, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"broken")
    photos = coloured_photos((200, 60, 60), 3)
    assert run(train([*photos, str(tmp_path / "broken.png")]))[-1].facts["photos"] == 3
    with pytest.raises(NotEnoughSelfies) as refusal:
        run(train([*photos[:2], str(tmp_path / "broken.png")]))
    assert (refusal.value.usable, refusal.value.needed) == (2, 3)


def test_the_best_state_is_what_is_saved(train: Callable, selfies, tmp_path: Path) -> None:
    photos, known = selfies
    done = run(train(photos, (0.0, 0.2, 0.5, 0.7, 0.6, 0.6, 0.5), known))[-1]
    assert points(done) == [(0, 0.0), (10, 0.2), (20, 0.5), (30, 0.7), (40, 0.6), (50, 0.6), (60, 0.5)]
    assert done.steps == done.facts["best_step"] == 30
    assert read_info(tmp_path / "a.safetensors").steps == 30
    assert done.likeness == "strong"
    assert done.facts["held_out"] == 1


def test_the_saved_tensors_are_those_of_the_best_step(train: Callable, selfies, tmp_path: Path) -> None:
    photos, known = selfies
    rising = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    run(train(photos, (0.0, 0.7, 0.1, 0.2, 0.1, 0.2, 0.1), known, out="early"))
    run(train(photos, rising, known, out="late"))
    early, late = (read_info(tmp_path / f"{name}.safetensors").steps for name in ("early", "late"))
    assert (early, late) == (10, 60)
    assert (tmp_path / "early.safetensors").read_bytes() != (tmp_path / "late.safetensors").read_bytes()


def test_it_stops_early_and_says_so(train: Callable, selfies) -> None:
    photos, known = selfies
    replies = run(train(photos, (0.0, 0.6, 0.5, 0.5, 0.5), known))
    done = replies[-1]
    assert points(done)[-1] == (40, 0.5)
    assert (done.steps, done.facts["steps_done"], done.facts["steps_of"]) == (10, 40, 60)


def test_a_state_that_lost_its_prompt_is_not_chosen_however_alike(train: Callable, selfies) -> None:
    """The pictures of steps 30 and 60 have the same backdrop whatever is asked for."""
    photos, known = selfies
    work = train(photos, (0.0, 0.2, 0.5, 0.9, 0.6, 0.4, 0.95), known)
    work._inspector.contrast = (0.6, 0.6, 0.5, 0.1, 0.4, 0.5, 0.0)
    done = run(work)[-1]
    assert [point["contrast"] for point in done.facts[CURVE]] == pytest.approx(
        [0.6, 0.6, 0.5, 0.1, 0.4, 0.5, 0.0]
    )
    assert done.facts["best_step"] == 40


def test_eight_selfies_leave_two_to_measure_by(train: Callable, coloured_photos: Callable) -> None:
    photos = coloured_photos((200, 60, 60), 8)
    known = {
        Path(path).stem: facts(0, n, box=(20.0, 20.0, 50.0, 60.0)).to_json() for n, path in enumerate(photos)
    }
    done = run(train(photos, (0.0, 0.2, 0.5, 0.7, 0.6, 0.65, 0.5), known))[-1]
    assert (done.facts["photos"], done.facts["held_out"]) == (6, 2)
    assert all(len(point["each"]) == 2 for point in done.facts[CURVE])


def test_a_weak_likeness_comes_with_advice_and_a_strong_one_without(train: Callable, selfies) -> None:
    photos, known = selfies
    weak = run(train(photos, (0.0,) + (0.3,) * 6, known))[-1]
    assert weak.likeness == "weak"
    assert weak.advice
    assert set(weak.advice) <= {"closer", "from_left", "from_right", "more", "other_days"}
    assert run(train(photos, (0.0,) + (0.9,) * 6, known, out="b"))[-1].advice == ()


def test_a_look_is_cut_into_quanta_and_never_runs_backwards(train: Callable, selfies) -> None:
    photos, known = selfies
    work = train(photos, (0.0,) * 7, known)
    run(work, quanta=6 + 2)  # preparing, and the captions
    at_the_start = [reply.step for reply in run(work, quanta=4 + 4)]
    assert at_the_start == [0] * 8, "four denoising steps and the decodings of the first look"
    replies = run(work)[:-1]
    fractions = [reply.fraction for reply in replies]
    assert fractions == sorted(fractions)
    assert [reply.step for reply in replies].count(EVERY) == 1 + 8


def test_serving_weights_show_the_adapter_as_it_is_at_each_look(
    train: Callable, selfies, base, slot, monkeypatch
) -> None:
    """Also without an average, when its numbers always lie in the same place."""
    shown: list[np.ndarray] = []
    inspect = Script.inspect
    monkeypatch.setattr(Script, "inspect", lambda self, pixels: shown.append(pixels) or inspect(self, pixels))
    photos, known = selfies
    serving, fast = Serving(base, slot), {"ema_decay": 0.0, "learning_rate": 0.01}
    for looking in (None, (serving.base, serving)):
        rising = tuple(0.1 * look for look in range(9))
        run(train(photos, rising, known, out=str(looking is None), looking=looking, **fast))
    by_branch, merged = np.array(shown, float).reshape(2, -1, *shown[0].shape)
    assert serving.merges > 1
    assert len(by_branch) == len(merged)
    assert np.abs(by_branch - merged).mean() < 1
    assert np.abs(merged[:4] - merged[-4:]).mean() > 5, "a look is not the one before"


@pytest.mark.parametrize("killed_after", [6, 8, 11, 12, 19, 24, 39, 59, 78])
def test_a_training_that_was_killed_gives_the_same_adapter_and_the_same_curve(
    train: Callable, selfies, tmp_path: Path, killed_after: int
) -> None:
    photos, known = selfies
    likeness = (0.0, 0.5, 0.6, 0.4, 0.5, 0.5, 0.5)
    whole = run(train(photos, likeness, known, out="whole"))[-1]
    first = train(photos, likeness, known, out="cut")
    run(first, quanta=killed_after)
    first.checkpoint()
    looked = len(first._training.notes.get(CURVE, [])) if first._training else 0
    second = train(photos, likeness[looked:], known, out="cut")
    again = run(second)[-1]
    assert again.facts == whole.facts
    one, other = (tmp_path / f"{name}.safetensors" for name in ("whole", "cut"))
    assert read_info(one) == read_info(other)
    tensors = load_file(other)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load_file(one).items())


@pytest.mark.parametrize("killed_after", [6, 10, 14, 18, 40])
def test_pictures_of_anybody_are_drawn_first_and_gone_at_the_end(
    train: Callable, coloured_photos: Callable, tmp_path: Path, killed_after: int
) -> None:
    """Four photos, then two batches of four denoising steps, each picture decoded, then the captions, of the
    person and of anybody, then the steps."""
    photos = coloured_photos((200, 60, 60), 4)
    plain = run(train(photos, out="plain"))[-1]
    whole = run(train(photos, out="whole", prior_share=0.5, prior_count=9))
    stages = [(reply.stage, reply.step) for reply in whole[:-1]]
    prepared = 4 + 4 + 8 + 4 + 1 + len(CAPTIONS) + 1
    assert stages[4:prepared] == [("preparing", 4)] * (prepared - 4)
    assert stages[prepared][0] == "training"
    first = train(photos, out="cut", prior_share=0.5, prior_count=9)
    run(first, quanta=killed_after)
    first.checkpoint()
    run(train(photos, out="cut", prior_share=0.5, prior_count=9))
    tensors = {name: load_file(tmp_path / f"{name}.safetensors") for name in ("plain", "whole", "cut")}
    assert all(torch.equal(tensors["cut"][name], tensor) for name, tensor in tensors["whole"].items())
    assert not all(torch.equal(tensors["plain"][name], tensor) for name, tensor in tensors["whole"].items())
    assert not list((tmp_path / "whole-work").iterdir())
    assert plain.facts["photos"] == whole[-1].facts["photos"] == 4


def test_a_checkpoint_is_written_in_time_and_taken_over(
    train: Callable, coloured_photos: Callable, tmp_path: Path
) -> None:
    photos = coloured_photos((200, 60, 60), 3)
    first = train(photos)
    first.checkpoint()
    assert not (tmp_path / "a-work").exists(), "nothing to keep before the first step"
    run(first, quanta=8)
    assert not (tmp_path / "a-work" / CHECKPOINT_FILE).exists(), "20 s are not over"
    first.checkpoint()
    second = train(photos)
    steps = [reply.step for reply in run(second)[3:-1]]
    assert steps[0] > 1
    assert not (tmp_path / "a-work" / CHECKPOINT_FILE).exists()


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Writes of checkpoints end when this is set."""
    released, write = threading.Event(), trainer_module.write_parts_atomically

    def slow(path: Path, parts: Iterable[bytes]) -> None:
        released.wait(30)
        write(path, parts)

    monkeypatch.setattr(trainer_module, "write_parts_atomically", slow)
    yield released
    released.set()


def test_a_training_goes_on_while_its_checkpoint_is_written(
    train: Callable, coloured_photos: Callable, tmp_path: Path, slow_disk: threading.Event
) -> None:
    """What is written is the state of when it was taken; a second one does not begin meanwhile."""
    photos = coloured_photos((200, 60, 60), 3)
    run(train(photos, out="whole"))
    first = train(photos, save_seconds=0.0)
    run(first, quanta=3 + 1 + 6)
    assert first.training.saving
    assert not (tmp_path / "a-work").exists()
    slow_disk.set()
    first.close()
    second = train(photos, save_seconds=0.0)
    run(second, quanta=3 + 1)
    steps = [reply.step for reply in run(second)[:-1]]
    assert steps[0] == 2, "the step after the first one, at whose end the state was taken"
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "a"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert not list((tmp_path / "a-work").iterdir())


def test_a_save_begins_in_a_quantum_of_its_own(train: Callable, coloured_photos: Callable) -> None:
    """It takes as long as the steps of one."""
    work, steps, saves = train(coloured_photos((200, 60, 60), 3), save_seconds=0.0), [], []
    run(work, quanta=3 + 1)
    begin = work._begin

    def begun() -> object:
        training = begin()
        save = training.begin_save
        training.begin_save = lambda: (saves.append(len(steps)), save())
        return training

    work._begin = begun
    while isinstance(reply := work.quantum(), Progress):
        steps.append(reply.step)
    assert saves
    trained = [quantum for quantum in range(1, len(steps)) if steps[quantum] > steps[quantum - 1]]
    assert sorted([0, *trained, *saves]) == list(range(len(steps)))


def test_a_disk_that_is_full_is_told_at_the_next_save(
    train: Callable, coloured_photos: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, parts: Iterable[bytes]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer_module, "write_parts_atomically", full)
    with pytest.raises(OSError, match="No space"):
        run(train(coloured_photos((200, 60, 60), 3), save_seconds=0.0))


def test_the_answer_is_in_the_adapters_file(train: Callable, selfies, tmp_path: Path) -> None:
    """So that it is the same when the file was complete, but the answer was lost with the process."""
    photos, known = selfies
    done = run(train(photos, (0.0, 0.5, 0.3, 0.3, 0.3), known))[-1]
    info = read_info(tmp_path / "a.safetensors")
    request = TrainAdapter("again", "ada", "adapter-a", (), "", done.adapter_path)
    again = trained(request, info, seconds=0.0)
    assert again == replace(done, id="again", seconds=0.0)
    assert Curve.from_json(json.loads(json.dumps(again.facts[CURVE]))).best == Point(
        **{**done.facts[CURVE][1], "each": tuple(done.facts[CURVE][1]["each"])}
    )
