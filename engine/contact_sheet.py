"""`python -m engine.contact_sheet SHEET_JSON`: pictures side by side on one page, in labelled rows.

A program of its own so that the chat process, which starts it, needs no image library.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

WIDTH_PX = 1600
MARGIN_PX = 32
GAP_PX = 10
TITLE_PX, LABEL_PX = 40, 26
_PAPER, _INK, _GREY = (250, 249, 246), (28, 28, 30), (120, 118, 112)


@dataclass(frozen=True)
class Row:
    """Pictures of one size under a label; `columns` of them side by side, more go below."""

    label: str
    pictures: tuple[str, ...]
    columns: int

    @property
    def side_px(self) -> int:
        """Side of one square tile."""
        return (WIDTH_PX - 2 * MARGIN_PX - (self.columns - 1) * GAP_PX) // self.columns

    @property
    def height_px(self) -> int:
        """Height with its label."""
        lines = -(-len(self.pictures) // self.columns)
        return LABEL_PX + 2 * GAP_PX + lines * (self.side_px + GAP_PX)


def draw(title: str, rows: tuple[Row, ...]) -> Image.Image:
    """The page, RGB. Raises OSError where a picture cannot be read."""
    height = 2 * MARGIN_PX + TITLE_PX + GAP_PX + sum(row.height_px + GAP_PX for row in rows)
    page = Image.new("RGB", (WIDTH_PX, height), _PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN_PX, MARGIN_PX), title, fill=_INK, font=ImageFont.load_default(TITLE_PX))
    top = MARGIN_PX + TITLE_PX + 2 * GAP_PX
    for row in rows:
        pen.text((MARGIN_PX, top), row.label, fill=_GREY, font=ImageFont.load_default(LABEL_PX))
        _place(page, row, top + LABEL_PX + 2 * GAP_PX)
        top += row.height_px + GAP_PX
    return page


def _place(page: Image.Image, row: Row, top: int) -> None:
    step = row.side_px + GAP_PX
    for index, path in enumerate(row.pictures):
        line, column = divmod(index, row.columns)
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
        # A face is rather above the middle of an upright photo.
        tile = ImageOps.fit(upright, (row.side_px, row.side_px), centering=(0.5, 0.4))
        page.paste(tile, (MARGIN_PX + column * step, top + line * step))


def main() -> None:
    """Draw what the argument says: {"out": path, "title": text, "rows": [{label, pictures, columns}]}."""
    sheet = json.loads(sys.argv[1])
    rows = tuple(Row(each["label"], tuple(each["pictures"]), each["columns"]) for each in sheet["rows"])
    out = Path(sheet["out"])
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(sheet["title"], rows).save(out, quality=92)


if __name__ == "__main__":
    main()
