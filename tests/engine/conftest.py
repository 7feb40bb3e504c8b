"""A random base in miniature, and photos of flat colours: what the engine's tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Bit-for-bit comparisons, and other tests beside this one, want a single thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine-cache")


@pytest.fixture(scope="session")
def base(cache_dir: Path):
    from engine.config import EngineConfig
    from engine.models import load_base

    return load_base(EngineConfig(base="tiny", device="cpu", cache_dir=str(cache_dir)))


@pytest.fixture(scope="session")
def slot(base):
    from engine.lora import AdapterSlot

    return AdapterSlot(base.transformer)


@pytest.fixture(scope="session")
def accelerator():
    from accelerate import Accelerator

    return Accelerator(cpu=True, mixed_precision="no")


@pytest.fixture
def coloured_photos(tmp_path: Path) -> Callable[..., list[str]]:
    """Photos of one colour with a little grain, in a folder of their own."""

    def make(rgb: tuple[int, int, int], count: int = 4, name: str = "photos") -> list[str]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        random = np.random.default_rng(sum(rgb))
        paths = []
        for index in range(count):
            grain = random.integers(-15, 16, (120, 100, 3))
            pixels = np.clip(np.array(rgb) + grain, 0, 255).astype(np.uint8)
            path = folder / f"{name}-{index}.png"
            Image.fromarray(pixels).save(path)
            paths.append(str(path))
        return paths

    return make
