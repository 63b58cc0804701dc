"""Fused sweeps: compatible runs are trained as one stack of networks and end as if each had been alone."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from omegaconf import DictConfig

from jacexp.data.loader import Loader, StackedLoader
from jacexp.errors import JacexpError, RunLockedError
from jacexp.train.job import Job, identify
from jacexp.train.loaders import loaders
from jacexp.train.recorder import Diverged, Recorder
from jacexp.train.replay import record_on
from jacexp.train.result import begin, describe, measure, record, writing
from jacexp.train.stack import StackTraining
from jacexp.train.stop import stop_signals
from jacexp.train.trainer import make_trainer


def train_together(cfgs: Sequence[DictConfig]) -> None:
    """Train compatible runs as one stack; each ends with the files that it would have had alone.

    Runs that are over, or that another process holds, are left as they are. Interrupted runs go on from their
    checkpoints, those together that have come equally far. A run whose loss is no longer finite ends as ``diverged``,
    and the others do not notice; nor do they if one cannot be trained, for a damaged checkpoint say.

    Args:
        cfgs: one group of `jacexp.train.groups.compatible_groups`.

    Raises:
        JacexpError: if some cannot be trained, after the others were; what was trained is saved.
        Stopped: if the program was asked to stop; the runs are saved.
    """
    errors: list[JacexpError] = []
    with stop_signals(), ExitStack() as locks:
        jobs: list[Job] = []
        for cfg in cfgs:
            try:
                job = _missing(cfg, locks)
            except RunLockedError:
                continue
            except JacexpError as error:
                errors.append(error)
            else:
                jobs += [job] if job else []
        _share_images(jobs)
        for group in _equally_far(jobs):
            try:
                with writing(f"{len(group)} runs"):
                    train_stack(group)
            except JacexpError as error:
                errors.append(error)
    if errors:
        raise errors[0]


def _missing(cfg: DictConfig, locks: ExitStack) -> Job | None:
    """Lock a run and prepare it, with what it goes on from; None if it is over."""
    job = identify(cfg)
    locks.enter_context(job.directory.locked())
    if job.directory.over() is not None:
        job.directory.tidy()
        return None
    assert job.resume  # refuses what is damaged
    return job.prepare()


def _equally_far(jobs: Sequence[Job]) -> list[list[Job]]:
    """Group jobs by how far they have come."""
    parts: dict[tuple[int, int], list[Job]] = defaultdict(list)
    for job in jobs:
        parts[job.resume.epoch, job.resume.batches].append(job)
    return list(parts.values())


def train_stack(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Train jobs as one stack, or as two of half the size if that is more than the device's memory holds.

    Args:
        jobs: runs that may be trained together, have come equally far, and are locked.

    Returns:
        How each ended, the content of its ``result.json``.

    Raises:
        OutOfMemoryError: if one alone is too much.
    """
    try:
        return _Stack(jobs).train()
    except torch.OutOfMemoryError:
        if len(jobs) == 1:
            raise
    # Outside of the handler, whose traceback holds the tensors that did not fit.
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    # A stack owns the networks that it trains: begin with new ones, from the start or a checkpoint. Some runs may have
    # ended, or been saved, before the memory did.
    again = [job.again() for job in jobs if job.directory.over() is None]
    parts = _equally_far(again)
    if len(parts) == 1 and len(again) > 1:
        half = len(again) // 2
        parts = [again[:half], again[half:]]
    for part in parts:
        train_stack(part)
    return [result for job in jobs if (result := job.directory.over())]


def _share_images(jobs: Sequence[Job]) -> None:
    """Let jobs share the images of the first one that has the same."""
    for n, job in enumerate(jobs):
        for other in jobs[:n]:
            mine, theirs = job.data, other.data
            names = ("x_train", "y_train", "x_val", "y_val")
            if mine.source == theirs.source and all(
                torch.equal(getattr(mine, name), getattr(theirs, name)) for name in names
            ):
                job.data = theirs
                break


class _Stack:
    """The training of jobs that have come equally far."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs, self.cfg = list(jobs), jobs[0].cfg
        self.rows = [describe(job) for job in jobs]
        self.results: list[dict[str, Any]] = [{}] * len(jobs)

    def train(self) -> list[dict[str, Any]]:
        """Train them to the end, record how each ended and return it."""
        for job in self.jobs:
            begin(job)
        recorder = Recorder(self.jobs, self._diverged)
        trainer = make_trainer(self.jobs, recorder)
        device = trainer.strategy.root_device
        dtype = torch.float64 if self.cfg.train.precision == "64" else torch.float32
        for job in self.jobs:
            job.module.net.to(device, dtype)
        images, validation, tests = self._images(device)
        training = StackTraining([job.module for job in self.jobs], record_on(device))
        recorder.fit(trainer, training, images, validation)
        for n, job in enumerate(self.jobs):
            if training.alive[n]:
                measured = measure(job, tests[n])
                recorder.logs[n].end(measured)
                self._record(n, measured, {"status": "done"})
        return self.results

    def _diverged(self, n: int, error: Diverged) -> None:
        self._record(n, {"epoch": error.epoch}, {"status": "diverged", "error": str(error)})

    def _record(self, n: int, measured: dict[str, Any], how: dict[str, str]) -> None:
        self.results[n] = record(self.jobs[n], self.rows[n] | measured, how)
        self.jobs[n].directory.tidy()

    def _images(self, device: torch.device) -> tuple[StackedLoader, list[Loader], list[Loader]]:
        """Load each different set, and each different order of it, onto the device once."""
        of_data: dict[int, tuple[Loader, Loader, Loader]] = {}
        of_seed: dict[tuple[int, int], Loader] = {}
        keys = [(id(job.data), job.cfg.seed) for job in self.jobs]
        for (data, seed), job in zip(keys, self.jobs, strict=True):
            if data not in of_data:
                of_data[data] = loaders(job, device)
            of_seed.setdefault((data, seed), of_data[data][0].with_seed(seed))
        order = list(of_seed)
        images = StackedLoader(list(of_seed.values()), [order.index(key) for key in keys])
        return images, [of_data[data][1] for data, _ in keys], [of_data[data][2] for data, _ in keys]
