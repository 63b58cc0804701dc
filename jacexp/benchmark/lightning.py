"""What Lightning and the recording of a run cost on top of a bare PyTorch loop."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch.nn.functional import cross_entropy

from jacexp.data.loader import Loader
from jacexp.methods.none import Plain
from jacexp.methods.optim import Recipe
from jacexp.models.architectures import build
from jacexp.random import make_generator
from jacexp.store.runs import RunDirectory
from jacexp.train.job import Job
from jacexp.train.module import RegularizedModule
from jacexp.train.recorder import Recorder
from jacexp.train.trainer import make_trainer


def lightning_overhead(
    n_steps: int, batch_size: int, repetitions: int, device: str = "cpu"
) -> dict[str, Any]:
    """Time an epoch of plain LeNet training by a bare loop and as a run does it, in turns on the same batches.

    Both gather batches, run forward and backward passes and take SGD steps; a run also sums metrics, looks for a
    loss that is not finite, validates on one batch, and writes its checkpoint and metrics. Making the trainer is not
    counted.

    Args:
        n_steps: steps of an epoch.
        batch_size: images a step.
        repetitions: epochs of each kind, after one of each that is not counted.
        device: where to train.

    Returns:
        ``bare_ms`` and ``lightning_ms``, medians a step, and ``ratio``, the median of the ratios within a repetition.
    """
    x = torch.randint(256, (n_steps * batch_size, 1, 28, 28), generator=make_generator(0, "x")).to(
        torch.uint8
    )
    y = torch.randint(10, (len(x),), generator=make_generator(0, "y"))
    images = Loader(x, y, batch_size=batch_size, device=device)
    few = Loader(x[:batch_size], y[:batch_size], batch_size=batch_size, shuffle=False, device=device)
    pairs = [(bare_epoch(images), recorded_epoch(images, few)) for _ in range(repetitions + 1)][1:]
    bare, lightning = zip(*pairs, strict=True)
    return {
        "bare_ms": 1e3 * statistics.median(bare) / n_steps,
        "lightning_ms": 1e3 * statistics.median(lightning) / n_steps,
        "ratio": statistics.median(b / a for a, b in pairs),
        "n_steps": n_steps,
        "batch_size": batch_size,
        "repetitions": repetitions,
    }


def plain_lenet(device: torch.device) -> RegularizedModule:
    """Make a LeNet and its plain training."""
    one = torch.ones(1, 1, 1)
    net = build("lenet", in_shape=(1, 28, 28), n_classes=10, mean=one / 2, std=one / 4, seed=0)
    return RegularizedModule(net.to(device), Plain(), recipe=Recipe(epochs=1))


def bare_epoch(images: Loader) -> float:
    """Time an epoch as one would write it in PyTorch, in seconds."""
    net = plain_lenet(images.device).net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.8)
    start = time.perf_counter()
    for batch in images:
        optimizer.zero_grad()
        cross_entropy(net(batch.x), batch.y).backward()
        optimizer.step()
    return _since(start, images.device)


def recorded_epoch(images: Loader, few: Loader) -> float:
    """Time an epoch of a run, in seconds."""
    cfg = OmegaConf.create(
        {
            "progress": "off",
            "checkpoint": "last",
            "logger": None,
            "train": {
                "epochs": 1,
                "precision": "32",
                "device": "gpu" if images.device.type == "cuda" else "cpu",
            },
        }
    )
    module = plain_lenet(images.device)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(cfg, RunDirectory(Path(folder)), source={})  # its images are here
        job.module = module
        recorder = Recorder([job], lambda *_: None)
        trainer = make_trainer([job], recorder)
        start = time.perf_counter()
        recorder.fit(trainer, module, images, [few])
        return _since(start, images.device)


def _since(start: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
