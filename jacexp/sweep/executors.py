"""Where a sweep's runs are trained: in this process, or in several of this machine."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

import torch
from joblib import cpu_count
from pebble import ProcessExpired

from jacexp.errors import JacexpError
from jacexp.sweep.entry import Group
from jacexp.sweep.environment import environment
from jacexp.sweep.tasks import ATTEMPTS, task_of
from jacexp.train.stop import Stopped, end_if_requested
from jacexp.train.workers import stop_workers, worker_pool

POLL_S = 0.2
"""How often is looked whether this process was asked to stop."""


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
        """Use so many processes; -1 is one a GPU where there are several, and one a core otherwise."""
        n_gpus = len(visible_gpus())
        self.n_jobs = (n_gpus if n_gpus > 1 else cpu_count()) if n_jobs == -1 else n_jobs

    def train(self, groups: Sequence[Group]) -> Iterator[tuple[Group, JacexpError | None]]:
        """Train every group and yield each as it ends."""
        n_jobs = min(self.n_jobs, len(groups))
        if not n_jobs:
            return
        waiting = deque((group, 1) for group in groups)
        running: dict[Future[JacexpError | None], tuple[Group, int]] = {}
        threads = str(max(1, cpu_count() // n_jobs))
        with environment(OMP_NUM_THREADS=threads), worker_pool(n_jobs, devices=devices_for(groups)) as pool:
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


def visible_gpus() -> list[str]:
    """List the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them, without touching any."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    n = torch.cuda.device_count()
    return named.split(",")[:n] if named else [str(number) for number in range(n)]


def devices_for(groups: Sequence[Group]) -> list[str]:
    """Divide the GPUs among processes, so many to each as its runs' ``train.devices`` asks for.

    Without this all processes would take the first one, for each believes to be alone.

    Returns:
        A value of CUDA_VISIBLE_DEVICES for each process in turn; nothing where there is nothing to divide.
    """
    gpus = visible_gpus()
    trains = [entry.job.cfg.train for group in groups for entry in group if entry.job]
    each = max((train.devices for train in trains if train.device != "cpu"), default=1)
    shares = [gpus[first : first + each] for first in range(0, len(gpus) - each + 1, each)]
    return [",".join(share) for share in shares] if len(shares) > 1 else []


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
