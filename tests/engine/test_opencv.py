"""Without a working OpenCV the engine says what to do."""

import subprocess
import sys


def test_an_opencv_that_cannot_be_loaded_is_the_operator_s_to_mend(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import engine.photos"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "FaceModelUnusable: OpenCV: libGL.so.1" in seen.stderr
    assert "opencv-python-headless" in seen.stderr
