"""The whole journey in miniature: every stage is there, and what was cut short is scaled to all of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import random_flux
from benchmarks import selfies_to_headshots as module
from benchmarks.selfies_to_headshots import LOOKS, SAVING, STEPS, Figures, Journey, page, parse
from engine.base_folder import BaseSettings
from tests.engine.facts import facts

FIRST_STAGES = ["crops, masks, latents", "captions", "the adapter and its optimizer"]


@pytest.fixture
def journey(tmp_path: Path, monkeypatch, request) -> Journey:
    """Without a compiler, which takes a quarter of a minute to start."""
    smaller = BaseSettings(resolution_px=64, picture_px=64, num_inference_steps=4)
    monkeypatch.setattr(module, "TINY", replace(random_flux.TINY, settings=smaller))
    monkeypatch.setattr(module.Acceleration, "start", lambda *_: None)
    known = {
        f"{shot:02d}": facts(0, shot, box=(300.0, 250.0, 200.0, 240.0)).to_json() for shot in range(1, 16)
    }
    (tmp_path / "facts.json").write_text(json.dumps(known))
    words = f"--tiny --device cpu --no-faces --facts {tmp_path}/facts.json {request.param}"
    return Journey(parse(words.split()), tmp_path)


@pytest.mark.parametrize("journey", ["--steps 3 --most-seconds 0"], indirect=True)
def test_every_stage_is_in_the_table(journey: Journey) -> None:
    figures = journey.run()
    assert figures.training.calls[STEPS] == 3
    assert set(figures.training.seconds) == {*FIRST_STAGES, STEPS, LOOKS, SAVING, module.REST}
    assert list(figures.shoots) == [8, 4]
    # A batch of four steps, and each picture decoded.
    assert [stages.calls["drawing"] for stages in figures.shoots.values()] == [4 + 8, 4 + 4]
    assert [stages.calls[module.INSPECTING] for stages in figures.beside.values()] == [8, 4]
    assert [stages.calls[module.MARKING] for stages in figures.beside.values()] == [4, 4]
    assert all(stages.calls[module.WAITING] for stages in figures.shoots.values())
    assert all(stages.calls["loading the adapter"] == 1 for stages in figures.shoots.values())
    assert not figures.scale
    text = page(figures, journey.options)
    assert "| 4 headshots | of 8 drawn, s | of 4 drawn, s |" in text
    assert f"| from the last selfie to the adapter | {figures.trained:.1f} | | |" in text
    assert "| beside the GPU: marking | " in text
    assert "3 of 3 steps, 2 of 2 looks." in text
    assert "No face was looked at" in text


@pytest.mark.parametrize("journey", ["--steps 300 --most-seconds 0.001"], indirect=True)
def test_a_training_that_is_cut_short_is_scaled_to_its_steps(journey: Journey) -> None:
    figures = journey.run()
    done = figures.training.calls[STEPS]
    assert 1 <= done < 300
    assert figures.scale == {STEPS: 300 / done, SAVING: 300 / done, LOOKS: 9}  # every 40 steps; one was taken
    assert figures.of_training(STEPS) == pytest.approx(figures.training.seconds[STEPS] * 300 / done)
    assert figures.of_training("captions") == figures.training.seconds["captions"]
    assert "extrapolated" in page(figures, journey.options)


def test_what_failed_half_way_has_a_page() -> None:
    figures = Figures(notes=["it fell over"])
    with figures.training.stage(STEPS):
        pass
    assert "- it fell over" in page(figures, parse(["--tiny", "--device", "cpu"]))


def test_a_tiny_run_is_short_and_a_real_one_has_a_thousand_steps() -> None:
    assert (parse([]).steps, parse(["--tiny"]).steps, parse(["--tiny", "--steps", "7"]).steps) == (
        1000,
        20,
        7,
    )
