"""Fused sweeps: compatible runs are trained as one stack of networks and end as if each had been alone."""

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from omegaconf import DictConfig, OmegaConf

from jacexp.data import Loader, StackedLoader
from jacexp.errors import RunLockedError
from jacexp.methods.stack import can_be_stacked
from jacexp.train.config import method_class
from jacexp.train.ending import settle
from jacexp.train.job import Job, identify, loaders, make_module, prepare
from jacexp.train.outcome import begin, describe, measure, record, writing
from jacexp.train.recorder import Diverged
from jacexp.train.stack_recorder import Progress, StackRecorder, began_alone, read_progress
from jacexp.train.stop import stop_signals
from jacexp.train.together import Together
from jacexp.train.trainer import make_stack_trainer

OWN = (
    "seed",
    "checkpoint",
    "train.lr",
    "train.momentum",
    "train.momentum_form",
    "train.schedule",
    "train.gamma",
)
"""The keys in which the networks of a stack may differ, beside the method's strength."""

UNSEEN = ("grid", "progress", "protocol", "paths.data")
"""Keys that no number depends on."""


def compatible_groups(cfgs: Sequence[DictConfig], largest: int | None = None) -> list[list[DictConfig]]:
    """Put runs together that can be trained as one stack.

    They share data set, network, method and its switches, batch size, epochs and precision, and have come as far as
    each other. A run stays alone that has a logger, ``train.engine=autograd`` or a method without explicit passes, or
    that began outside of a stack.

    Args:
        cfgs: configurations that can be run.
        largest: the most runs of a group; None for no limit.

    Returns:
        The groups, each in the order given.
    """
    groups: dict[str, list[DictConfig]] = defaultdict(list)
    for number, cfg in enumerate(cfgs):
        directory = identify(cfg).directory
        together = cfg.logger is None and cfg.train.engine != "autograd" and can_be_stacked(method_class(cfg))
        shared = together and not began_alone(directory)
        groups[_key(cfg) if shared else f"alone {number}"].append(cfg)
    return [
        group[first : first + (largest or len(group))]
        for group in groups.values()
        for first in range(0, len(group), largest or len(group))
    ]


def _key(cfg: DictConfig) -> str:
    """Write out what the runs of a group have in common."""
    shared = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(shared, DictConfig)
    strength = method_class(cfg).strength
    is_plain = strength is None or cfg.method[strength] == 0
    for key in (*OWN, *UNSEEN, *([f"method.{strength}"] if strength else [])):
        OmegaConf.update(shared, key, None, force_add=True)
    return json.dumps([is_plain, OmegaConf.to_container(shared)], sort_keys=True)


def train_together(cfgs: Sequence[DictConfig]) -> None:
    """Train compatible runs as one stack; each ends with the files that it would have had alone.

    Runs that are over, or that another process holds, are left as they are. Interrupted runs go on from their
    checkpoints, those together that have come equally far. A run whose loss is no longer finite ends as ``diverged``,
    and the others do not notice.

    Args:
        cfgs: one group of `compatible_groups`.

    Raises:
        JacexpError: if the group cannot be trained; what was trained is saved.
        Stopped: if the program was asked to stop; the runs are saved.
    """
    with stop_signals(), ExitStack() as locks:
        jobs: list[Job] = []
        for cfg in cfgs:
            directory = identify(cfg).directory
            try:
                locks.enter_context(directory.locked())
            except RunLockedError:
                continue
            before = settle(directory)
            if before is None or before["status"] == "failed":
                jobs.append(_sharing(prepare(cfg), jobs))
        by_progress: dict[tuple[int, int], list[Job]] = defaultdict(list)
        for job in jobs:
            progress, _ = read_progress(job.directory) or (Progress(), {})
            by_progress[progress.epoch, progress.batches].append(job)
        for group in by_progress.values():
            _train_what_fits(group)


def _train_what_fits(jobs: Sequence[Job]) -> None:
    """Train jobs as one stack, or as two of half the size if that is more than the device's memory holds."""
    try:
        with writing(f"{len(jobs)} runs"):
            _Stack(jobs).train()
        return
    except torch.OutOfMemoryError:
        if len(jobs) == 1:
            raise
    # Outside of the handler, whose traceback holds the tensors that did not fit.
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    half = len(jobs) // 2
    for part in (jobs[:half], jobs[half:]):
        left = [job for job in part if job.directory.over() is None]
        if left:
            # A stack owns the networks that it trains: begin with new ones, from the start or a checkpoint.
            _train_what_fits([replace(job, module=make_module(job.cfg, job.data)) for job in left])


def _sharing(job: Job, others: Sequence[Job]) -> Job:
    """Let a job use the images of an earlier one where they are the same."""
    for other in others:
        mine, theirs = job.data, other.data
        if mine.source == theirs.source and torch.equal(mine.x_train, theirs.x_train):
            return replace(job, data=theirs)
    return job


class _Stack:
    """The training of jobs that have come equally far."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs, self.cfg = list(jobs), jobs[0].cfg
        self.rows = [describe(job) for job in jobs]
        read = [read_progress(job.directory) or (Progress(), {}) for job in jobs]
        self.progress = [progress for progress, _ in read]
        self.states = [state for _, state in read]

    def train(self) -> None:
        """Train them to the end and record how each ended."""
        for job in self.jobs:
            begin(job)
        recorder = StackRecorder(self.jobs, self.progress, self._diverged)
        first, epochs = self.progress[0], self.cfg.train.epochs
        trainer = make_stack_trainer(self.cfg, recorder, epochs - first.epoch)
        device = trainer.strategy.root_device
        dtype = torch.float64 if self.cfg.train.precision == "64" else torch.float32
        for job in self.jobs:
            job.module.net.to(device, dtype)
        images, recorder.validation, tests = self._images(device)
        together = Together([job.module for job in self.jobs], epoch=first.epoch, batches=first.batches)
        for n, state in enumerate(self.states):
            if state:
                together.load_state(n, state)
        together.samples = first.samples
        if first.epoch < epochs:
            trainer.fit(together, images)
        for n, job in enumerate(self.jobs):
            if together.alive[n]:
                progress = self.progress[n]
                measured = measure(job, progress.rows, progress.seconds, tests[n])
                record(job, self.rows[n] | measured, {"status": "done"})
                job.directory.tidy()

    def _diverged(self, n: int, error: Diverged) -> None:
        ending = {"status": "diverged", "error": str(error)}
        record(self.jobs[n], self.rows[n] | {"epoch": error.epoch}, ending)
        self.jobs[n].directory.tidy()

    def _images(self, device: torch.device) -> tuple[StackedLoader, list[Loader], list[Loader]]:
        """Put each different set, and each different order of it, on the device once."""
        made: dict[tuple[int, int], tuple[Loader, Loader, Loader]] = {}
        held_out: dict[int, tuple[Loader, Loader]] = {}
        keys = [(id(job.data), job.cfg.seed) for job in self.jobs]
        for key, job in zip(keys, self.jobs, strict=True):
            if key not in made:
                made[key] = loaders(job, device)
                held_out.setdefault(key[0], made[key][1:])
        order = list(made)
        images = StackedLoader([made[key][0] for key in order], [order.index(key) for key in keys])
        return images, [held_out[key[0]][0] for key in keys], [held_out[key[0]][1] for key in keys]
