"""The selfie card: how many are good, what is wrong with the others, what is still missing."""

from collections.abc import Mapping
from typing import Any

from bot.texts.problems import PROBLEMS, UNKNOWN_PROBLEM
from bot.texts.quoting import numbers, plural

Values = Mapping[str, Any]
LINES_MAX = 1500  # characters for the lines about single photos


def intake(values: Values) -> str:
    """The card. values["selfies"]: (number, good | pending | doubtful | refused, problem) of each photo."""
    by_state = {
        state: [number for number, each, _ in values["selfies"] if each == state]
        for state in ("good", "pending", "doubtful", "refused")
    }
    good = len(by_state["good"])
    counted = f"Your selfies: {good} of {max(values['wanted'], good)} good"
    parts = [counted if good or not by_state["pending"] else "Your selfies are coming in. Thank you."]
    if by_state["good"]:
        parts.append(f"✅ {numbers(by_state['good'])}")
    if by_state["pending"]:
        parts.append(f"⏳ {numbers(by_state['pending'])}: I am looking at {_them(by_state['pending'])}")
    parts += _problem_lines(values)
    parts += _left_out(values)
    return (
        "\n".join(parts)
        + f"\n\n{_missing(values, good, bool(by_state['pending']), bool(by_state['doubtful']))}"
    )


def _problem_lines(values: Values) -> list[str]:
    """One line for each kind of problem, doubtful ones first, as many as fit."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for number, state, problem in sorted(values["selfies"], key=lambda each: each[1] != "doubtful"):
        if state in ("doubtful", "refused"):
            kinds.setdefault((state, problem), []).append(number)
    lines: list[str] = []
    left_out = 0
    for (state, problem), who in kinds.items():
        mark = "🟡" if state == "doubtful" else "❌"
        line = f"{mark} {numbers(who)}: {PROBLEMS.get(problem, UNKNOWN_PROBLEM)}"
        if sum(map(len, lines)) + len(line) > LINES_MAX:
            left_out += len(who)
        else:
            lines.append(line)
    return [*lines, *([f"… and {left_out} more"] if left_out else [])]


def _left_out(values: Values) -> list[str]:
    sentences = []
    if values["repeated"]:
        sentences.append(f"♻️ {_came(values['repeated'])} a second time: I keep one of each.")
    if values["extra"]:
        sentences.append(f"✋ I take at most {values['max']}: {plural(values['extra'], 'photo')} left out.")
    if values["too_large"]:
        files, copies = (
            ("a file", "a smaller copy") if values["too_large"] == 1 else ("files", "smaller copies")
        )
        sentences.append(
            f"❌ {_came(values['too_large'])} as {files} over {values['max_mib']} MB: send {copies}."
        )
    return sentences


def _came(count: int) -> str:
    return f"{plural(count, 'photo')} came"


def _missing(values: Values, good: int, pending: bool, doubtful: bool) -> str:
    if values["training"] and values["for_next"]:
        return "A training is running: the newer ones are for the next one."
    if values["training"]:
        return "A training was started from the good ones."
    if good >= values["max"]:
        return "That is as many as I take. You can train now."
    if good >= values["wanted"]:
        return "That is all I need. You can train now."
    if good >= values["min"]:
        more = values["wanted"] - good
        return f"You can train now. {more} more would make it better: other days, clothes and angles."
    if pending:
        return "One moment, please."
    anyway = ", or use a doubtful one anyway" if doubtful else ""
    return f"Please send at least {values['min'] - good} more{anyway}. To take out photo 3: /remove 3"


def _them(pending: list[int]) -> str:
    return "it" if len(pending) == 1 else "them"
