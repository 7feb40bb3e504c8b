"""Each code of the engine has its sentence. Its source is read: this side does not import the engine."""

import ast
from pathlib import Path

from bot.texts.problems import ADVICE, LACKING, PROBLEMS, SHOOT_FAILURES, TRAINING_FAILURES

ENGINE = Path(__file__).parents[3] / "engine"


def codes_of(file: str, cls: str) -> set[str]:
    """The values of an enumeration."""
    for node in ast.walk(ast.parse((ENGINE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == cls:
            return {
                each.value.value
                for each in node.body
                if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant)
            }
    raise AssertionError(f"{cls} is not in {file}")


def reasons() -> set[str]:
    """`reason = "..."` of every error of the engine."""
    return {
        each.value.value
        for file in ("errors.py", "engine.py")
        for node in ast.walk(ast.parse((ENGINE / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        for each in node.body
        if isinstance(each, ast.Assign)
        and isinstance(each.value, ast.Constant)
        and any(isinstance(target, ast.Name) and target.id == "reason" for target in each.targets)
    }


def test_every_problem_of_a_selfie_has_a_sentence() -> None:
    assert set(PROBLEMS) == codes_of("photo_facts.py", "Problem") | {"lost"}


def test_every_failure_has_a_sentence_where_it_can_happen() -> None:
    assert {"engine_failed", "out_of_memory", "cancelled", "base_unusable"} <= reasons()
    assert reasons() <= set(TRAINING_FAILURES) | set(SHOOT_FAILURES)
    assert reasons() - set(TRAINING_FAILURES) == {"adapter_corrupt", "nothing_to_show"}
    assert reasons() - set(SHOOT_FAILURES) == {"not_enough_selfies"}


def test_each_says_what_to_do() -> None:
    for code, sentence in PROBLEMS.items():
        assert sentence.count(". ") >= 1, code
        assert len(sentence) < 100, code


def test_every_advice_and_every_flaw_has_its_words() -> None:
    assert set(LACKING) == codes_of("ranking.py", "Flaw") - {"unsafe"}
    source = (ENGINE / "advice.py").read_text(encoding="utf-8")
    assert all(f'"{code}":' in source for code in ADVICE)
    assert len(ADVICE) == source.count('": _share(') + source.count('": float(')
