"""Where the time of a stack's step goes."""

import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from jacexp.benchmark.lenets import lenets
from jacexp.data.loader import StackedLoader
from jacexp.train.job import identify
from jacexp.train.loaders import loaders
from jacexp.train.replay import record_on
from jacexp.train.stack import StackTraining

LISTED = 20
"""Operations in a profile, those that take longest."""

WARM_UP = 16
"""Steps before anything is timed."""


def profile_stack(
    method: str, n_networks: int, n_steps: int, batch_size: int, device: torch.device
) -> dict[str, Any]:
    """Profile steps of stacked LeNets on random images: gathering batches, draws, passes, descent and sums.

    Args:
        method: of `conf/method`, with its own strength.
        n_networks: networks of the stack, of different seeds.
        n_steps: steps that are profiled, after as many that are timed without the profiler.
        batch_size: images a step and network.
        device: where they are trained.

    Returns:
        ``ms_per_step`` and ``ms_per_network_step`` without the profiler, and under ``operations`` the name of each,
        its share of all operations' own time and its calls a step.
    """
    with tempfile.TemporaryDirectory() as folder:
        n_batches = WARM_UP + 2 * n_steps
        jobs = [
            identify(cfg).prepare()
            for cfg in lenets(Path(folder), method, n_networks, n_batches * batch_size, batch_size)
        ]
    images = loaders(jobs[0], device)[0]
    batches = iter(StackedLoader([images.with_seed(job.cfg.seed) for job in jobs], range(n_networks)))
    training = StackTraining([job.module.to(device) for job in jobs], record=record_on(device))
    training.on_train_epoch_start()

    def train(first: int, n: int) -> float:
        start = time.perf_counter()
        for number, batch in enumerate(islice(batches, n), start=first):
            training.training_step(batch, number)
        torch.accelerator.synchronize() if device.type != "cpu" else None
        return time.perf_counter() - start

    train(0, WARM_UP)
    seconds = train(WARM_UP, n_steps) / n_steps
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiler:
        train(WARM_UP + n_steps, n_steps)
    own = "self_cpu_time_total" if device.type == "cpu" else "self_device_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: getattr(event, own), reverse=True)
    total = sum(getattr(event, own) for event in events)
    return {
        "method": method,
        "n_networks": n_networks,
        "batch_size": batch_size,
        "n_steps": n_steps,
        "ms_per_step": 1e3 * seconds,
        "ms_per_network_step": 1e3 * seconds / n_networks,
        "operations": [
            {"name": event.key, "share": getattr(event, own) / total, "calls": event.count / n_steps}
            for event in events[:LISTED]
        ],
    }
