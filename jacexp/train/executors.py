"""Where a sweep's runs are trained on one machine: in this process, or in several."""

import gc
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path

import torch
from joblib import cpu_count
from omegaconf import DictConfig

from jacexp.errors import JacexpError
from jacexp.train.fused import train_together
from jacexp.train.progress import in_sweep
from jacexp.train.run import run
from jacexp.train.stop import Stopped, deaf_children, end_if_requested
from jacexp.train.sweep import Group

ATTEMPTS = 3
"""How often a group is started whose process is killed."""


@dataclass(frozen=True)
class Task:
    """The training of one group, ready to be sent to another process, as if the user's command ran there."""

    cfgs: tuple[DictConfig, ...]
    arguments: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))
    folder: str = field(default_factory=os.getcwd)

    @classmethod
    def of(cls, group: Group) -> "Task":
        """Make the task of a group."""
        return cls(tuple(run.cfg for run in group))

    def __call__(self) -> JacexpError | None:
        """Train the group.

        Returns:
            Why it did not end well, in a form that any process can send; None if it did.
        """
        sys.argv = list(self.arguments)
        try:
            with chdir(self.folder), in_sweep():
                self._train()
        except JacexpError as error:
            return error
        except Exception as error:
            return JacexpError(f"{type(error).__name__}: {error}")
        finally:
            _free_memory()
        return None

    def _train(self) -> None:
        if len(self.cfgs) == 1:
            run(self.cfgs[0])
        else:
            train_together(self.cfgs)


def _free_memory() -> None:
    """Give back what a failed run may have left on the device."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


class InProcess:
    """Trains one group after another in this process."""

    n_jobs = 1

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Train every group and give each as it ends."""
        for group in groups:
            end_if_requested()
            yield group, Task.of(group)()


class Processes:
    """Trains groups in several processes of this machine, which share its cores.

    Each process is a `concurrent.futures` pool of one: when one is killed, for want of memory say, it is known whose
    it was; that group is tried again, and the others never notice.
    """

    def __init__(self, n_jobs: int = -1) -> None:
        """Take the number of processes; -1 is one a core.

        Raises:
            JacexpError: for any other number below 1.
        """
        if n_jobs == 0 or n_jobs < -1:
            raise JacexpError(
                f"hydra.launcher.n_jobs={n_jobs} must be positive, or -1 for one process a core"
            )
        self.n_jobs = cpu_count() if n_jobs == -1 else n_jobs

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Train every group and give each as it ends."""
        n_jobs = min(self.n_jobs, len(groups))
        if not n_jobs:
            return
        waiting: queue.SimpleQueue[Group] = queue.SimpleQueue()
        ended: queue.SimpleQueue[tuple[Group, JacexpError | None]] = queue.SimpleQueue()
        for group in groups:
            waiting.put(group)
        slots = [_Slot(waiting, ended) for _ in range(n_jobs)]
        with environment(OMP_NUM_THREADS=str(max(1, cpu_count() // n_jobs))):
            for slot in slots:
                slot.start()
            try:
                for _ in groups:
                    yield _next(ended)
            finally:
                for slot in slots:
                    slot.end()
                for slot in slots:
                    slot.join()


def _next(ended: "queue.SimpleQueue[tuple[Group, JacexpError | None]]") -> tuple[Group, JacexpError | None]:
    while True:
        try:
            return ended.get(timeout=0.2)
        except queue.Empty:
            end_if_requested()


class _Slot(threading.Thread):
    """One process after another, each for as many groups as it survives."""

    def __init__(
        self,
        waiting: "queue.SimpleQueue[Group]",
        ended: "queue.SimpleQueue[tuple[Group, JacexpError | None]]",
    ) -> None:
        super().__init__(daemon=True)
        self.waiting, self.ended = waiting, ended
        self.is_ending = False
        self._pool: ProcessPoolExecutor | None = None
        self._pid: int | None = None

    def run(self) -> None:
        while not self.is_ending:
            try:
                group = self.waiting.get_nowait()
            except queue.Empty:
                break
            error = self._attempt(group)
            if not self.is_ending:
                self.ended.put((group, error))
        if self._pool:
            self._pool.shutdown()

    def _attempt(self, group: Group) -> JacexpError | None:
        for _ in range(ATTEMPTS):
            try:
                if self._pool is None:
                    self._pool = ProcessPoolExecutor(1, get_context("spawn"), _begin_worker)
                    with deaf_children(signal.SIGINT):  # it imports for seconds, and is asked by this process
                        begun = self._pool.submit(os.getpid)
                    self._pid = begun.result()
                if self.is_ending:  # asked while the process began, which takes seconds
                    return None
                return self._pool.submit(Task.of(group)).result()
            except BrokenProcessPool:  # killed
                self._pool = self._pid = None
            except Stopped:  # asked to stop, it or all of us
                pass
            except Exception as error:  # what cannot be sent there or back
                return JacexpError(f"{type(error).__name__}: {error}")
            if self.is_ending:
                return None
        return JacexpError(f"its process was killed {ATTEMPTS} times, as happens when memory is short")

    def end(self) -> None:
        """Ask the process to save and stop."""
        self.is_ending = True
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)


def _begin_worker() -> None:
    """Prepare a worker: a terminal's signals are for its parent, which asks it itself; without one there is no work."""
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    while True:  # the first one saves what is trained, the next one ends the process
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


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
