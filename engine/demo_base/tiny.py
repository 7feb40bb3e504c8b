"""A complete random FLUX folder, made in about a second: what fast tests load instead of a real base."""

from pathlib import Path

import torch

from engine.demo_base.architecture import TINY, make_pipeline, save_base


def make_tiny_base(folder: Path, seed: int = 0) -> None:
    """Write a random base in the diffusers format to `folder`: the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = make_pipeline(TINY)
    save_base(pipeline, folder)
