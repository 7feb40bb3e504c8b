"""The benchmark at FLUX.1-dev's geometry: that it is that geometry, and that it runs, in miniature."""

from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel

from benchmarks.flux_training import GEOMETRY, PLANS, SMALL, Card, Row, named, report
from engine.memory import MemoryPlan


def test_the_geometry_is_that_of_flux_1_dev() -> None:
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**GEOMETRY)
    assert sum(parameter.numel() for parameter in transformer.parameters()) == 11_901_408_320
    assert transformer.inner_dim == 3072


@pytest.mark.parametrize("plan", [PLANS[80][0], PLANS[24][0], PLANS[16][1]], ids=named)
def test_it_trains_and_resumes_in_miniature(plan: MemoryPlan, tmp_path: Path) -> None:
    card = Card(24, SMALL, torch.device("cpu"), tmp_path)
    row = card.measure(plan, 32, 16, resume=True)
    assert row.seconds > 0
    assert row.resumed == "at step 4, state exact, losses 0.0e+00 apart"


def test_what_did_not_fit_is_in_the_table() -> None:
    rows = [Row(16, "int4", 512, 1.25, 9.5, 10.0, "exact"), Row(16, "int4", 1024, resumed="does not fit")]
    lines = report(rows).splitlines()
    assert "| 16 GB | int4 | 512 | 1.25 | 9.5 | 10.0 | exact |" in lines
    assert "| 16 GB | int4 | 1024 | - | - | - | does not fit |" in lines
