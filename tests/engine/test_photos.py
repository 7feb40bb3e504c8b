"""The whole look at a selfie, on real pictures of people who do not exist."""

import io
import json

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from engine.config import EngineConfig
from engine.messages import CheckPhoto, decode, encode
from engine.photo_facts import SOFT_PROBLEMS, PhotoFacts, Problem
from engine.photos import PhotoChecker, PhotoLimits, judge_set, similarity
from tests import images


@pytest.fixture(scope="module")
def checker() -> PhotoChecker:
    return PhotoChecker(EngineConfig(threads=1))


@pytest.fixture
def look(checker, tmp_path):
    """Checks a picture, or bytes, and returns what the engine answers."""

    def check(photo, photo_id="new", others=None):
        path = tmp_path / "sent"
        path.write_bytes(photo if isinstance(photo, bytes) else images.as_bytes(photo, quality=90))
        request = CheckPhoto("r1", photo_id, str(path), str(tmp_path / "clean.jpg"), others or {})
        return checker.check(request)

    return check


def verdict(checked, photo_id="new") -> tuple[str, list[str]]:
    judged = checked.verdicts[photo_id]
    return judged["verdict"], judged["problems"]


# ---------------------------------------------------------------- good selfies


@pytest.mark.parametrize("path", images.SELFIES, ids=lambda path: path.name)
def test_the_demo_s_selfies_are_accepted(look, path):
    assert verdict(look(path.read_bytes())) == ("accepted", [])


def test_the_answer_travels_to_the_application_and_back(look, tmp_path):
    checked = look(images.selfie())
    assert decode(encode(checked)) == checked
    facts = PhotoFacts.from_json(json.loads(json.dumps(checked.facts)))
    with Image.open(tmp_path / "clean.jpg") as clean:
        assert (facts.width_px, facts.height_px) == clean.size == (768, 768)
    x, y, width, height = facts.box
    right_eye, left_eye, nose, *mouth = facts.landmarks
    for px, py in facts.landmarks:
        assert x < px < x + width
        assert y < py < y + height
    assert right_eye[0] < nose[0] < left_eye[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(point[1] for point in mouth)
    assert abs(facts.yaw_degrees) < 15
    assert len(json.dumps(checked.facts)) < 1500
    assert checked.milliseconds > 0


def test_a_chat_s_own_copy_is_accepted(look):
    """About 960 x 1280 px with a face of 330 to 480 px is what Telegram makes of a photo."""
    copy = Image.new("RGB", (960, 1280), (120, 130, 140))
    copy.paste(images.selfie().resize((960, 960)), (0, 160))
    checked = look(images.as_bytes(copy, quality=80))
    assert verdict(checked) == ("accepted", [])
    assert 330 <= checked.facts["box"][2] <= 480


def test_a_photo_from_a_phone_lies_right_and_tells_nothing(look, tmp_path):
    assert verdict(look(images.phone_photo())) == ("accepted", [])
    clean = (tmp_path / "clean.jpg").read_bytes()
    assert b"Phonemaker" not in clean
    assert not Image.open(io.BytesIO(clean)).getexif()


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_photo_that_lost_its_orientation_is_turned(look, tmp_path, degrees):
    assert verdict(look(images.selfie().rotate(degrees))) == ("accepted", [])
    with Image.open(tmp_path / "clean.jpg") as picture:
        clean = np.asarray(picture, float)
    assert np.abs(clean - np.asarray(images.selfie(), float)).mean() < 6


def test_heic(look):
    assert verdict(look(images.HEIC.read_bytes()))[0] == "accepted"


def test_a_dark_skinned_person_in_plain_light_is_not_too_dark(look):
    for number in range(1, len(images.OTHERS) + 1):
        assert not {"too_dark", "too_bright"} & set(verdict(look(images.other(number)))[1])


def test_a_passer_by_is_tolerated(look):
    street = images.selfie()
    street.paste(images.other(2).resize((170, 170)), (0, 0))
    assert verdict(look(street)) == ("accepted", [])


# ---------------------------------------------------------------- what is wrong with one photo


def cropped(edge: str, share: float) -> Image.Image:
    """A selfie of which so much of the face is cut away at an edge."""
    picture = images.selfie().resize((1400, 1400))
    x, y, width, height = (value * 1400 / 768 for value in (262, 91, 277, 362))
    left, top, right, bottom = 0.0, 0.0, 1400.0, 1400.0
    if edge == "left":
        left = x + width * share
    elif edge == "right":
        right = x + width * (1 - share)
    elif edge == "top":
        top = y + height * share
    else:
        bottom = y + height * (1 - share)
    return picture.crop((round(left), round(top), round(right), round(bottom)))


def motion(picture: Image.Image, length_px: int, down: bool) -> Image.Image:
    kernel = np.zeros((length_px, length_px), np.float32)
    kernel[(slice(None), length_px // 2) if down else (length_px // 2, slice(None))] = 1 / length_px
    return Image.fromarray(cv2.filter2D(np.asarray(picture), -1, kernel))


def far_away(face_share: float) -> Image.Image:
    """The person at the back of a large room."""
    room = Image.new("RGB", (1280, 960), (150, 145, 140))
    side = round(768 * face_share)
    room.paste(images.selfie().resize((side, side), Image.Resampling.LANCZOS), (500, 200))
    return room


def covered() -> Image.Image:
    """The lower half of the face behind a scarf."""
    picture = images.selfie(5)
    ImageDraw.Draw(picture).rectangle((241, 255, 565, 473), fill=(60, 90, 120))
    return picture


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (images.group_photo, ("refused", "several_faces")),
        (images.landscape, ("refused", "no_face")),
        (lambda: Image.new("RGB", (800, 800), "white"), ("refused", "no_face")),
        (lambda: far_away(0.25), ("refused", "face_too_small")),
        (lambda: far_away(0.42), ("doubtful", "face_small")),
        (lambda: cropped("left", 0.35), ("refused", "face_cut_off")),
        (lambda: cropped("right", 0.35), ("refused", "face_cut_off")),
        (lambda: cropped("top", 0.3), ("refused", "face_cut_off")),
        (lambda: cropped("bottom", 0.25), ("refused", "face_cut_off")),
        (lambda: images.selfie().filter(ImageFilter.GaussianBlur(6)), ("doubtful", "blurred")),
        (lambda: motion(images.selfie(), 31, down=False), ("doubtful", "blurred")),
        (lambda: motion(images.selfie(), 31, down=True), ("doubtful", "blurred")),
        (covered, ("doubtful", "face_unclear")),
        (lambda: images.relit(images.selfie(), -5), ("doubtful", "too_dark")),
        (lambda: images.relit(images.selfie(), 2), ("doubtful", "too_bright")),
        (lambda: images.selfie().resize((300, 300)), ("refused", "image_too_small")),
    ],
)
def test_each_problem_is_named(look, make, expected):
    outcome, problems = verdict(look(make()))
    assert (outcome, problems[0]) == expected
    assert len(problems) == 1


@pytest.mark.parametrize("skin", ["#f1c27d", "#8d5524", "white", "#3b2219"])
def test_a_drawing_is_refused(look, skin):
    outcome, problems = verdict(look(images.cartoon(skin)))
    assert outcome == "refused"
    assert problems[0] in ("drawing", "no_face")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"%PDF-1.7 and so on", "wrong_format"),
        (images.png_bomb(), "too_many_pixels"),
        (images.as_bytes(images.selfie())[:20_000], "unreadable"),
        (
            images.as_bytes(images.selfie(), "WEBP", save_all=True, append_images=[images.selfie(2)]),
            "animated",
        ),
    ],
    ids=["nothing", "pdf", "bomb", "cut short", "animation"],
)
def test_what_is_no_photo_is_refused_and_leaves_the_set_alone(look, content, problem):
    others = {"a": look(images.selfie(), "a").facts}
    checked = look(content, others=others)
    assert checked.verdicts == {"new": {"verdict": "refused", "problems": [problem]}}
    assert checked.facts == {}


def test_too_large_a_file(tmp_path):
    path = tmp_path / "large.jpg"
    path.write_bytes(bytes(1024 * 1024 + 1))
    strict = PhotoChecker(EngineConfig(threads=1), PhotoLimits(max_file_mib=1))
    checked = strict.check(CheckPhoto("r", "new", str(path), str(tmp_path / "clean.jpg")))
    assert verdict(checked) == ("refused", ["file_too_large"])


def test_a_file_that_is_not_there_is_no_verdict(checker, tmp_path):
    with pytest.raises(FileNotFoundError):
        checker.check(CheckPhoto("r", "new", str(tmp_path / "none"), str(tmp_path / "clean.jpg")))


# ---------------------------------------------------------------- the set


def send(look, photos: dict) -> dict[str, tuple[str, list[str]]]:
    """Sends one photo after the other as the application does; the verdicts that stand at the end."""
    known, standing = {}, {}
    for photo_id, photo in photos.items():
        checked = look(photo, photo_id, known)
        standing.update(
            {key: (value["verdict"], value["problems"]) for key, value in checked.verdicts.items()}
        )
        if checked.facts:
            known[photo_id] = json.loads(json.dumps(checked.facts))
    return standing


def test_the_first_photo_shows_someone_else(look):
    photos = {"friend": images.other(1)} | {f"me {at}": images.selfie(at) for at in (1, 2, 3)}
    standing = send(look, photos)
    assert standing.pop("friend") == ("refused", ["someone_else"])
    assert all(judged == ("accepted", []) for judged in standing.values())


def test_one_person_in_two_very_different_lights(look):
    cold_and_bright = {
        f"day {at}": images.relit(images.selfie(at), 0.7, (0.8, 0.95, 1.2)) for at in range(1, 6)
    }
    warm_and_dark = {
        f"night {at}": images.relit(images.selfie(at), -2, (1.3, 0.9, 0.5)) for at in range(6, 11)
    }
    standing = send(look, cold_and_bright | warm_and_dark)
    assert all(outcome != "refused" for outcome, _ in standing.values()), standing
    assert all(outcome == "accepted" for key, (outcome, _) in standing.items() if key.startswith("day")), (
        standing
    )


def test_the_same_photo_again_in_other_clothes(look):
    """The same file, a smaller copy, another format, a little brighter: one of them is enough."""
    original = images.selfie(3)
    photos = {
        "copy": images.as_bytes(original.resize((512, 512)), quality=70),
        "file": images.as_bytes(original, quality=95),
        "again": images.as_bytes(original, quality=95),
        "png": images.as_bytes(images.relit(original, 0.3), "PNG", compress_level=1),
        "next": images.selfie(4),
    }
    standing = send(look, photos)
    assert {key for key, (outcome, _) in standing.items() if outcome == "accepted"} == {"file", "next"}
    assert all(standing[key] == ("refused", ["duplicate"]) for key in ("again", "png"))
    assert "duplicate" in standing["copy"][1]


def test_forty_photos_at_once(look):
    """15 selfies, each sent twice; six of a friend; four that are no photos."""
    photos = {}
    for at in range(1, 16):
        photos[f"me {at}"] = images.SELFIES[at - 1].read_bytes()
        photos[f"me {at} again"] = images.as_bytes(images.selfie(at), quality=80)
    photos |= {f"friend {at}": path.read_bytes() for at, path in enumerate(images.OTHERS)}
    photos |= {"nothing": b"", "pdf": b"%PDF-1.4", "bomb": images.png_bomb(), "hill": images.landscape()}
    assert len(photos) == 40
    standing = send(look, photos)
    assert len(standing) == 40
    good = {key for key, (outcome, _) in standing.items() if outcome == "accepted"}
    assert good == {f"me {at}" for at in range(1, 16)}
    friend = [standing[f"friend {at}"] for at in range(6)]
    assert all(outcome == "refused" for outcome, _ in friend)
    assert all({"someone_else", "duplicate"} & set(problems) for _, problems in friend)
    assert friend[0] == ("refused", ["someone_else"])


def test_a_check_that_is_repeated_finds_no_copy_of_itself(look):
    first = look(images.selfie(), "a")
    assert verdict(look(images.selfie(), "a", {"a": first.facts}), "a") == ("accepted", [])


def test_facts_of_another_release_are_left_out(look, caplog):
    facts = look(images.selfie(2), "a").facts
    checked = look(images.selfie(), "new", {"old": {**facts, "version": 0}, "faceless": {}, "a": facts})
    assert set(checked.verdicts) == {"a", "new"}
    assert "facts_unreadable" in caplog.text


def test_judging_again_costs_no_look(look):
    facts = {f"{at}": PhotoFacts.from_json(look(images.selfie(at)).facts) for at in (1, 2)}
    assert {judged.verdict for judged in judge_set(facts).values()} == {"accepted"}


# ---------------------------------------------------------------- likeness


def test_likeness_tells_people_apart(checker):
    mine = [checker.embed(np.asarray(images.selfie(at).resize((256, 256)))) for at in (1, 5, 9)]
    theirs = checker.embed(np.asarray(images.other(2).resize((256, 256))))
    assert min(similarity(mine[0], again) for again in mine[1:]) > 0.5
    assert max(similarity(one, theirs) for one in mine) < 0.3
    assert similarity(mine[0], mine[0]) == pytest.approx(1)


def test_likeness_of_no_face(checker):
    assert checker.embed(np.asarray(images.landscape())) is None


# ---------------------------------------------------------------- whatever comes

GOOD = images.as_bytes(images.selfie().resize((400, 400)))


@settings(max_examples=40, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_selfies_always_get_a_verdict(look, data):
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    outcome, problems = verdict(look(bytes(content[: data.draw(st.integers(0, len(content)))])))
    codes = {Problem(code) for code in problems}
    assert outcome == ("accepted" if not codes else "doubtful" if codes <= SOFT_PROBLEMS else "refused")


@settings(max_examples=25, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(320, 2600), height=st.integers(320, 2600), seed=st.integers(0, 99))
def test_any_shape_and_any_noise_gets_a_verdict(look, width, height, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (rng.integers(2, 60), rng.integers(2, 60), 3), dtype=np.uint8)
    assert verdict(look(Image.fromarray(coarse).resize((width, height))))[0] == "refused"
