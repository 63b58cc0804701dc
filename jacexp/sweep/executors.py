"""Where a sweep's runs are trained: in this process, or in several of this machine."""

import gc
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import chdir, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count
from omegaconf import DictConfig
from pebble import ProcessExpired

from jacexp.errors import JacexpError
from jacexp.sweep.engine import Group
from jacexp.train.fused import train_together
from jacexp.train.progress import in_sweep
from jacexp.train.run import run
from jacexp.train.stop import Stopped, end_if_requested
from jacexp.train.workers import stop_workers, worker_pool

ATTEMPTS = 3
"""How often a group is started whose process is killed."""

POLL_S = 0.2
"""How often is looked whether this process was asked to stop."""


def task_of(group: Group) -> "partial[JacexpError | None]":
    """Make what trains a group in any process, as if the user's command ran there."""
    cfgs = tuple(entry.planned.cfg for entry in group if entry.planned)
    return partial(train_group, cfgs, tuple(sys.argv), str(Path.cwd()))


def train_group(cfgs: Sequence[DictConfig], arguments: Sequence[str], folder: str) -> JacexpError | None:
    """Train runs, together if there are several.

    Args:
        cfgs: their configurations.
        arguments: the user's command line, for the runs' provenance.
        folder: where it was started.

    Returns:
        Why it did not end well, in a form that any process can send; None if it did.
    """
    sys.argv = list(arguments)
    try:
        with chdir(folder), in_sweep():
            if len(cfgs) == 1:
                run(cfgs[0])
            else:
                train_together(cfgs)
    except JacexpError as error:
        return error
    except Exception as error:
        return JacexpError(f"{type(error).__name__}: {error}")
    finally:
        _free_memory()
    return None


def _free_memory() -> None:
    """Free what a failed run may have left on the device."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


class InProcess:
    """Trains one group after another in this process."""

    n_jobs = 1

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Train every group and yield each as it ends."""
        for group in groups:
            end_if_requested()
            yield group, task_of(group)()


class Processes:
    """Trains groups in several processes of this machine, which share its cores.

    When one is killed, for want of memory say, its group is tried again, and the others never notice.
    """

    def __init__(self, n_jobs: int = -1) -> None:
        """Use so many processes; -1 is one a core."""
        self.n_jobs = cpu_count() if n_jobs == -1 else n_jobs

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Train every group and yield each as it ends."""
        n_jobs = min(self.n_jobs, len(groups))
        if not n_jobs:
            return
        waiting = deque((group, 1) for group in groups)
        running: dict[Future[JacexpError | None], tuple[Group, int]] = {}
        threads = str(max(1, cpu_count() // n_jobs))
        with environment(OMP_NUM_THREADS=threads), worker_pool(n_jobs) as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < n_jobs:
                        group, attempt = waiting.popleft()
                        running[pool.schedule(task_of(group))] = group, attempt
                    for ended in wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED).done:
                        group, attempt = running.pop(ended)
                        end_if_requested()
                        if attempt < ATTEMPTS and _is_lost(ended):
                            waiting.appendleft((group, attempt + 1))
                        else:
                            yield group, _outcome(ended)
                    end_if_requested()
            finally:
                stop_workers(list(running))


def _is_lost(ended: "Future[JacexpError | None]") -> bool:
    """Whether the process was killed, or asked to stop by somebody else."""
    return isinstance(ended.exception(), ProcessExpired | Stopped)


def _outcome(ended: "Future[JacexpError | None]") -> JacexpError | None:
    error = ended.exception()
    if error is None:
        return ended.result()
    if _is_lost(ended):
        return JacexpError(f"its process was killed {ATTEMPTS} times, as happens when memory is short")
    return JacexpError(f"{type(error).__name__}: {error}")  # what cannot be sent there or back


def library(name: str, extra: str) -> Any:
    """Import a library that is an extra.

    Returns:
        The library.

    Raises:
        JacexpError: if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise JacexpError(
            f'this launcher needs {name}, which is not installed: pip install "jacexp[{extra}]"'
        ) from error


@contextmanager
def environment(**defaults: str) -> Iterator[None]:
    """Set variables that the user has not set, for the processes that are started meanwhile."""
    here = str(Path(__file__).parents[2])  # a checkout that is not installed
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    before = dict(os.environ)
    os.environ.update({**defaults, **os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
