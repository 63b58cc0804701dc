"""Which runs of a sweep are missing, in which groups they are trained, and what becomes of each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import torch
from omegaconf import DictConfig, OmegaConf

from jacexp.errors import DataError, JacexpError, RunLockedError
from jacexp.sweep.entry import Entry, Group
from jacexp.sweep.time_left import Pace
from jacexp.train.groups import compatible_groups
from jacexp.train.job import identify
from jacexp.train.stop import end_if_requested, rest

POLL_S = 2.0
"""How often a sweep looks whether another process has ended a run."""


LARGEST_ON_CPU = 16
"""Runs of a group without a GPU; larger ones only leave the caches behind."""


class Executor(Protocol):
    """Where groups are trained: in this process, in others, or on a cluster."""

    n_jobs: int
    """How many groups it trains at the same time."""

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Train every group and yield each as it ends, with the error of one that did not end well."""


def plan(jobs: Iterable[tuple[str, DictConfig | JacexpError]]) -> list[Entry]:
    """Check and name every job before any is trained; one that cannot be run keeps its error.

    Args:
        jobs: words that tell a job from the others, and its configuration, or why it has none.

    Returns:
        The entries, in the same order.
    """
    missing: dict[tuple[str, ...], DataError] = {}  # a set that is not there is looked for once
    entries = []
    for overrides, cfg in jobs:
        end_if_requested()
        if isinstance(cfg, JacexpError):
            entries.append(Entry(overrides, error=cfg))
            continue
        entry = Entry(overrides, epochs=cfg.train.epochs)
        data = (OmegaConf.to_yaml(cfg.dataset), str(cfg.paths.data))
        try:
            if data in missing:
                raise missing[data]
            entry.job = identify(cfg)
            entry.run = entry.job.directory
            entry.before = Pace.of(entry.run.path).n_epochs
            if entry.over() is None and not entry.error:
                entry.job.rehearse()
        except DataError as error:
            missing[data] = entry.error = error
        except JacexpError as error:
            entry.error = error
        entries.append(entry)
    return entries


def train_missing(
    entries: Sequence[Entry],
    executor: Executor,
    *,
    fuse: bool,
    ended: Callable[[Entry], None],
    largest: int | None = None,
) -> None:
    """Train every run that is not over, each once, whoever else is at work on the same sweep.

    A run that another process trains is left to it and waited for; should that process die, it is trained here. One
    run's failure is noted in its entry and the others go on.

    Args:
        entries: what `plan` returned.
        executor: where they are trained.
        fuse: train compatible runs together.
        ended: called with each entry whose run ends, well or not.
        largest: the most runs of a group; None: on a GPU what its memory holds, without one an even share, at most
            `LARGEST_ON_CPU`.

    Raises:
        Stopped: if SIGTERM or Ctrl-C asks for it; what is trained has been saved.
    """
    different = {
        entry.run.path: entry for entry in entries if entry.run
    }  # jobs may be one run, written differently
    waiting = [entry for entry in different.values() if _is_missing(entry)]
    while waiting:
        free = [entry for entry in waiting if not entry.held() and _is_missing(entry)]
        again = {entry for entry in waiting if entry.alone}
        for group, error in executor.train(_groups(free, fuse, largest, executor.n_jobs)):
            _note(group, error)
            for entry in group:
                if not _is_missing(entry):
                    ended(entry)
        for entry in waiting:
            if entry not in free and not _is_missing(entry):  # ended by another process
                ended(entry)
        waiting = [entry for entry in waiting if _is_missing(entry)]
        if waiting and not any(entry.alone and entry not in again for entry in waiting):
            rest(POLL_S)
    for entry in entries:
        if entry.run:
            entry.error = different[entry.run.path].error


def _is_missing(entry: Entry) -> bool:
    return entry.over() is None and not entry.error


def _groups(entries: Sequence[Entry], fuse: bool, largest: int | None, n_jobs: int) -> list[Group]:
    together = [entry for entry in entries if fuse and not entry.alone]
    apart: list[Group] = [[entry] for entry in entries if entry not in together]
    if not together:
        return apart
    if largest is None and not torch.cuda.is_available():
        largest = min(LARGEST_ON_CPU, -(-len(together) // n_jobs))
    entry_of = {entry.job: entry for entry in together if entry.job}
    return [[entry_of[job] for job in jobs] for jobs in compatible_groups(list(entry_of), largest)] + apart


def _note(group: Group, error: JacexpError | None) -> None:
    """Record why a run of a group has no result; a group that failed as a whole goes on run by run."""
    for entry in group:
        if entry.over() or isinstance(error, RunLockedError):
            continue
        if len(group) > 1:
            entry.alone = True
        else:
            entry.error = error or JacexpError(
                f"the training of {entry.overrides or 'the run'} left no result"
            )
