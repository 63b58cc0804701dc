"""A sweep of LeNets over random images, which everything about sweeps is timed with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from jacexp.train.config import METHODS, register

SIDE, N_CLASSES, N_HELD_OUT = 28, 10, 100


def lenets(
    folder: Path, method: str, n_networks: int, n_images: int, batch_size: int
) -> Sequence[DictConfig]:
    """Compose the runs of a sweep over seeds: LeNets for an epoch of random images, whose file is put into a folder."""
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, n in (("train", n_images + N_HELD_OUT), ("test", N_HELD_OUT)):
        arrays[f"x_{part}"] = draw.integers(256, size=(n, SIDE, SIDE), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(n, dtype=np.uint8) % N_CLASSES
    np.savez(folder / "noise.npz", **arrays)
    words = [
        f"+method={method}",
        "dataset=npz",
        f"dataset.path={folder / 'noise.npz'}",
        f"data.holdout={N_HELD_OUT}",
        "train.epochs=1",
        f"train.batch_size={batch_size}",
        f"train.device={'gpu' if torch.cuda.is_available() else 'cpu'}",
        f"paths.results={folder}",
        "progress=off",
    ]
    register()
    with initialize_config_dir(str(METHODS.parent), version_base="1.3"):
        return [compose("config", [*words, f"seed={seed}"]) for seed in range(n_networks)]
