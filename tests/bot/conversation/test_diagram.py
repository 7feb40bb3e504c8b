"""The diagram in the documents shows what the machine does."""

from pathlib import Path

from bot.conversation.diagram import mermaid
from tests.bot.conversation.chat import STYLES

DIAGRAM = Path(__file__).parents[3] / "docs" / "conversation.mmd"


def test_the_diagram_is_up_to_date() -> None:
    """To renew it: python -c "from bot.conversation.diagram import mermaid; from bot.styles import Catalogue;
    print(mermaid(Catalogue.load()), end='')" > docs/conversation.mmd"""
    assert DIAGRAM.read_text(encoding="utf-8") == mermaid(STYLES)


def test_the_main_path_is_in_it() -> None:
    drawn = mermaid(STYLES)
    for arrow in (
        "[*] --> stranger",
        "stranger --> collecting: [consent_yes]",
        "collecting --> enough: selfie accepted",
        "enough --> training: /train, [train], [train_anyway]",
        "training --> ready: training finished",
        "training --> enough: /cancel, [cancel], training failed",
    ):
        assert arrow in drawn
