"""The page shows every picture, whole rows of them, below its label."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from engine.contact_sheet import MARGIN_PX, WIDTH_PX, Row, draw

COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{number}.png" for number in range(len(COLOURS))]
    for path, colour in zip(paths, COLOURS, strict=True):
        Image.new("RGB", (60, 90), colour).save(path)
    return [str(path) for path in paths]


def test_every_picture_is_on_the_page_in_order(pictures: list[str]) -> None:
    page = draw(
        "Likeness", (Row("Selfies", tuple(pictures[:3]), 3), Row("Headshots", tuple(pictures[3:]), 2))
    )
    assert page.width == WIDTH_PX
    colours = [page.getpixel((WIDTH_PX // 6 + column * WIDTH_PX // 3, 300)) for column in range(3)]
    assert colours == COLOURS[:3]
    bottom = [
        page.getpixel((x, page.height - 2 * MARGIN_PX - 20)) for x in (WIDTH_PX // 4, 3 * WIDTH_PX // 4)
    ]
    assert bottom == COLOURS[3:]


def test_it_runs_as_a_program(pictures: list[str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.jpg"
    sheet = {"out": str(out), "title": "t", "rows": [{"label": "a", "pictures": pictures, "columns": 4}]}
    subprocess.run([sys.executable, "-m", "engine.contact_sheet", json.dumps(sheet)], check=True)
    with Image.open(out) as page:
        assert page.size[0] == WIDTH_PX
