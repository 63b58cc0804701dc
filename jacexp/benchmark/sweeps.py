"""How many steps of networks a second a sweep takes, one network after another, in several processes, and fused."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from jacexp.errors import JacexpError
from jacexp.sweep.engine import Executor, plan, train_missing
from jacexp.sweep.executors import InProcess, Processes
from jacexp.train.config import METHODS, register

SIDE, N_CLASSES, N_HELD_OUT = 28, 10, 100


def modes(n_jobs: int) -> dict[str, tuple[Executor, bool]]:
    """Return each launcher's executor on this machine and whether it trains fused, by the launcher's name."""
    several = f" ({n_jobs} processes)"
    return {
        "sequential": (InProcess(), False),
        "joblib" + several: (Processes(n_jobs), False),
        "fused (1 process)": (InProcess(), True),
        "fused" + several: (Processes(n_jobs), True),
    }


def network_steps_per_second(
    executor: Executor, *, fuse: bool, method: str, n_networks: int, n_steps: int, batch_size: int
) -> float:
    """Train LeNets of different seed and strength for one epoch of random images, as a sweep does.

    The clock is that of the runs themselves: batches, steps, sums, validation and callbacks, without the set-up of
    processes, networks and data, and without checkpoints.

    Args:
        executor: where they are trained.
        fuse: train them as one stack, or one a process.
        method: of `conf/method`, with its own strength.
        n_networks: runs of the sweep.
        n_steps: of each.
        batch_size: images a step and network.

    Returns:
        Steps, summed over networks, a second.

    Raises:
        JacexpError: if a run failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        cfgs = lenets(Path(folder), method, n_networks, n_steps * batch_size, batch_size)
        runs = plan([(f"seed={n}", cfg) for n, cfg in enumerate(cfgs)])
        train_missing(
            runs, executor, fuse=fuse, largest=-(-n_networks // executor.n_jobs), ended=lambda _: None
        )
        seconds = 0.0
        for run in runs:
            result = run.over()
            if result is None:
                raise JacexpError(f"{run.overrides} failed: {run.error}")
            seconds += result["row"]["train_s"]
    return n_networks * n_steps * min(executor.n_jobs, n_networks) / seconds


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
