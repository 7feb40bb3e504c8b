"""Numbers for the operator, as Prometheus reads them."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine import metrics as module
from engine.metrics import Metrics


def read(folder: Path) -> dict[tuple[str, ...], float]:
    (path,) = folder.glob("*.prom")
    families = text_string_to_metric_families(path.read_text())
    return {
        (each.name, *(value for _, value in sorted(each.labels.items()))): each.value
        for family in families
        for each in family.samples
    }


def test_what_was_counted_is_in_the_file(tmp_path: Path) -> None:
    metrics = Metrics(str(tmp_path / "metrics"), "GPU-0")
    for kind in ("shoot", "training", "shoot"):
        metrics.begun(kind)
    metrics.ran("shoot", 0.3)
    metrics.ran("shoot", 0.7)
    metrics.stepped_down("training")
    metrics.ended("shoot", "done", 2)
    found = read(tmp_path / "metrics")
    assert found["likeness_quantum_seconds_count", "GPU-0", "shoot"] == 2
    assert found["likeness_quantum_seconds_bucket", "GPU-0", "shoot", "0.5"] == 1
    assert found["likeness_quantum_seconds_sum", "GPU-0", "shoot"] == pytest.approx(1.0)
    assert found["likeness_requests_in_hand", "GPU-0", "shoot"] == 1
    assert found["likeness_requests_in_hand", "GPU-0", "training"] == 1
    assert found["likeness_steps_down_total", "GPU-0", "training"] == 1
    assert found["likeness_requests_ended_total", "GPU-0", "shoot", "done"] == 1
    assert found["likeness_recompiles", "GPU-0"] == 2


def test_engines_of_one_host_have_files_of_their_own(tmp_path: Path) -> None:
    for device in ("GPU-1", "GPU-2"):
        Metrics(str(tmp_path), device).write()
    assert {path.name for path in tmp_path.iterdir()} == {"engine-GPU-1.prom", "engine-GPU-2.prom"}


def test_work_under_way_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    metrics = Metrics(str(tmp_path), "cpu")
    counted = []
    for seconds in (0.0, 5.0, 11.0):
        clock[0] += seconds
        metrics.ran("training", 0.1)
        counted.append(read(tmp_path)["likeness_quantum_seconds_count", "cpu", "training"])
    assert counted == [1, 1, 3]


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("")
    Metrics(str(tmp_path / "file"), "cpu").write()
    assert [record.message for record in caplog.records] == ["metrics_not_written"]
