"""A sweep: which of its runs are missing, in which groups they are trained, and what became of each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from omegaconf import DictConfig

from jacexp.errors import DataError, JacexpError, RunLockedError, StoreError
from jacexp.store.runs import RunDirectory
from jacexp.train.fused import compatible_groups
from jacexp.train.job import identify, rehearse
from jacexp.train.stop import end_if_requested, rest

POLL_S = 2.0
"""How often a sweep looks whether another process has ended a run."""


@dataclass(eq=False)
class SweepRun:
    """One job of a sweep."""

    overrides: str
    """What the job has beside the sweep's other jobs, as words of a command line."""
    cfg: DictConfig
    directory: RunDirectory | None = None
    """Where its files lie; None for a configuration that cannot be run."""
    error: JacexpError | None = None
    """Why it has no result."""
    alone: bool = False
    """Its group failed as a whole, so it is tried without the others."""

    def over(self) -> dict[str, Any] | None:
        """Read how the run ended; None if it has not, or failed, or if what it left cannot be read."""
        try:
            return self.directory.over() if self.directory else None
        except StoreError as error:
            self.error = self.error or error
            return None

    def held(self) -> bool:
        """Say whether a process is training the run."""
        return self.directory is not None and self.directory.held()


LARGEST_ON_CPU = 16
"""Runs of a group without a GPU; larger ones only leave the caches behind."""

Group = Sequence[SweepRun]
"""Runs that are trained together; often one."""


class Executor(Protocol):
    """Where groups are trained: in this process, in others, or on a cluster."""

    n_jobs: int
    """How many groups it trains at the same time."""

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Train every group and give each as it ends, with the error of one that did not end well."""


def plan(jobs: Iterable[tuple[str, DictConfig]]) -> list[SweepRun]:
    """Check and name every job before any is trained; one that cannot be run keeps its error.

    Args:
        jobs: words that tell a job from the others, and its configuration.

    Returns:
        The runs, in the same order.
    """
    missing: dict[tuple[str, ...], DataError] = {}  # a set that is not there is looked for once
    runs = []
    for overrides, cfg in jobs:
        end_if_requested()
        run = SweepRun(overrides, cfg)
        data = (str(cfg.dataset.name), str(cfg.dataset.path), str(cfg.paths.data))
        try:
            if data in missing:
                raise missing[data]
            found = identify(cfg)
            run.directory = found.directory
            if run.over() is None and not run.error:
                rehearse(found)
        except DataError as error:
            missing[data] = run.error = error
        except JacexpError as error:
            run.error = error
        runs.append(run)
    return runs


def train_missing(
    runs: Sequence[SweepRun],
    executor: Executor,
    *,
    fuse: bool,
    ended: Callable[[SweepRun], None],
    largest: int | None = None,
) -> None:
    """Train every run that is not over, each once, whoever else is at work on the same sweep.

    A run that another process trains is left to it and waited for; should that process die, it is trained here. One
    run's failure is noted in it and the others go on.

    Args:
        runs: what `plan` gave.
        executor: where they are trained.
        fuse: train compatible runs together.
        ended: is told of each run that ends, well or not.
        largest: the most runs of a group; None: on a GPU what its memory holds, without one an even share, at most
            `LARGEST_ON_CPU`.

    Raises:
        Stopped: if SIGTERM or Ctrl-C asks for it; what is trained has been saved.
    """
    waiting = {run.directory.path: run for run in runs if run.directory and not run.error}
    waiting = {path: run for path, run in waiting.items() if run.over() is None}
    while waiting:
        tried = {path for path, run in waiting.items() if run.alone}
        free = [run for run in waiting.values() if not run.held() and run.over() is None]
        for group, error in executor.train(_groups(free, fuse, largest, executor.n_jobs)):
            _note(group, error)
            for run in [r for r in group if r.error or r.over()]:
                ended(run)
        left = {path: run for path, run in waiting.items() if not run.error and run.over() is None}
        for path in waiting.keys() - left.keys():  # ended by another process
            if waiting[path] not in free:
                ended(waiting[path])
        if left and not any(run.alone and path not in tried for path, run in left.items()):
            rest(POLL_S)
        waiting = left
    _copy_to_twins(runs)


def _groups(runs: Sequence[SweepRun], fuse: bool, largest: int | None, n_jobs: int) -> list[Group]:
    together = [run for run in runs if fuse and not run.alone]
    apart: list[Group] = [[run] for run in runs if run not in together]
    if not together:
        return apart
    if largest is None and not torch.cuda.is_available():
        largest = min(LARGEST_ON_CPU, -(-len(together) // n_jobs))
    by_cfg = {id(run.cfg): run for run in together}
    groups = compatible_groups([run.cfg for run in together], largest)
    return [[by_cfg[id(cfg)] for cfg in cfgs] for cfgs in groups] + apart


def _note(group: Group, error: JacexpError | None) -> None:
    """Keep why a run of a group has no result; a group that failed as a whole goes on run by run."""
    for run in group:
        if run.over() or isinstance(error, RunLockedError):
            continue
        if len(group) > 1:
            run.alone = True
        else:
            run.error = error or JacexpError(f"the training of {run.overrides or 'the run'} left no result")


def _copy_to_twins(runs: Sequence[SweepRun]) -> None:
    """Tell the jobs that are one and the same run, written differently, what became of it."""
    errors = {run.directory.path: run.error for run in runs if run.directory and run.error}
    for run in runs:
        if run.directory:
            run.error = errors.get(run.directory.path)
