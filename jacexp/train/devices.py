"""One run on several devices of this machine: a process each, under Lightning's DistributedDataParallel."""

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
from jacexp.train.fit import fit
from jacexp.train.job import Job, prepare
from jacexp.train.processes import Rank, run_together
from jacexp.train.progress import chosen_progress
from jacexp.train.trainer import on_gpu


def fit_on_devices(job: Job) -> dict[str, Any]:
    """Train a run in as many processes as ``train.devices`` says, with the numbers of one process but for rounding.

    Each process takes its share of the rows of every batch, and of what is drawn for it; see `Share`.

    Args:
        job: the run, which this process has locked.

    Returns:
        What `fit` gives.

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
    """Train as one process of a group; the first one alone prints, writes files and gives the columns."""
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
