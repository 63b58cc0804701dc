"""The training of one network: in this process, or in one for each of several devices of this machine.

Several train under Lightning's DistributedDataParallel, each its share of every batch.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from omegaconf import DictConfig
from torch.nn.modules.batchnorm import _BatchNorm

from jacexp.methods.base import RegularizedModule
from jacexp.methods.distributed import Share
from jacexp.train.job import Job, loaders, prepare
from jacexp.train.processes import Rank, run_together
from jacexp.train.progress import chosen_progress
from jacexp.train.recorder import Diverged, Recorder
from jacexp.train.result import measure
from jacexp.train.resume import Resume
from jacexp.train.trainer import make_trainer, on_gpu


def fit(job: Job) -> dict[str, Any]:
    """Train from the start or from where an interrupted run stopped, and measure the columns of ``runs.csv``.

    Returns:
        The columns; nothing in any but the first of several processes, which writes all files.

    Raises:
        Diverged: if the loss is not finite.
    """
    resume = Resume.read(job.directory)
    recorder = Recorder([job], [resume], _raise)
    trainer = make_trainer([job], recorder)
    # Before a checkpoint is loaded: Lightning converts only afterwards, and would round it to float32.
    trainer.precision_plugin.convert_module(job.module)
    device = trainer.strategy.root_device
    job.module.to(device)
    train, val, test = loaders(job, device)
    recorder.fit(trainer, job.module, train, [val])
    return measure(job, resume.rows, resume.seconds, test) if trainer.is_global_zero else {}


def _raise(n: int, error: Diverged) -> None:  # noqa: ARG001  # there is only one
    raise error


def fit_on_devices(job: Job) -> dict[str, Any]:
    """Train a run in as many processes as ``train.devices`` says, with the numbers of one process but for rounding.

    Each process takes its share of the rows of every batch, and of what is drawn for it; see `Share`.

    Args:
        job: the run, which this process has locked.

    Returns:
        What `fit` returns.

    Raises:
        BaseException: whatever ended one of the processes; see `run_together`.
    """
    n = job.cfg.train.devices
    for words in differences(job.module):
        print(f"warning: train.devices={n}: {words}", file=sys.stderr)
    cfg = job.cfg.copy()
    cfg.progress = chosen_progress(cfg.progress)  # only this process knows whether it is within a sweep
    return run_together(_fit_share, n, cfg)


def _fit_share(rank: Rank, cfg: DictConfig) -> dict[str, Any]:
    with process_group(rank, gpu=on_gpu(cfg)):
        return fit_share(rank, cfg)


def fit_share(rank: Rank, cfg: DictConfig) -> dict[str, Any]:
    """Train as one process of a group; the first one alone prints, writes files and returns the columns."""
    # A dimension of size 1 has any stride: what the reducer says of it changes nothing.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    if rank.number:
        cfg.progress = "off"
    job = prepare(cfg)
    job.module.share = Share(rank.number, rank.of)
    return fit(job)


@contextmanager
def process_group(rank: Rank, *, gpu: bool = False) -> Iterator[None]:
    """Join the processes that add their gradients up, by NCCL on GPUs and by Gloo on the CPU."""
    if gpu:
        torch.cuda.set_device(rank.number)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if gpu else "gloo",
        store=rank.store(),
        rank=rank.number,
        world_size=rank.of,
    )
    yield
    dist.destroy_process_group()  # not after an error: the others may be waiting for what never comes


def differences(module: RegularizedModule) -> list[str]:
    """Name where a network on several devices is not the one that a single device would train."""
    words = []
    if any(isinstance(layer, _BatchNorm) for layer in module.net.modules()):
        words.append(
            "batch norm normalises each process's rows of a batch by themselves, and its running statistics are "
            "those of the first process, so the numbers are not those of one device"
        )
    if module.has_dropout:
        words.append(
            "each process draws dropout's masks for its own rows, so they are not those of one device"
        )
    return words
