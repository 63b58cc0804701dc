"""One piece of work in several processes at once: they end together, well or not, and none outlives the parent."""

import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from pebble import ProcessExpired
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # not there in every build of torch

from jacexp.errors import JacexpError
from jacexp.train.stop import SIGNALS, Stopped, stop_requested, stop_signals
from jacexp.train.workers import ask_to_stop, end_at_once, kill_workers, worker_pool

STOP = signal.SIGUSR1
"""Asks a process to stop: to SIGTERM Lightning answers by a broadcast of its own, wherever the others are. It is
blocked until a process has begun, so that none dies of it or misses it."""

POLL_S = 0.2
"""How often the parent looks whether it was asked to stop."""

GRACE_S = 2.0
"""How long the others of a process that failed may take to say why they fail too; then they are ended."""


class Rank(NamedTuple):
    """Which of the processes this is, and where it meets the others."""

    number: int
    of: int
    port: int

    def store(self) -> Store:
        """Connect to the store through which the processes find each other; their parent keeps it."""
        return TCPStore("127.0.0.1", self.port, is_master=False)


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


def run_together(work: Callable[..., Any], n: int, *args: Any) -> Any:
    """Call ``work(rank, *args)`` in n new processes and return what the first one does.

    A request to stop is passed on to them; signals themselves, such as the terminal's Ctrl-C, do not reach them.

    Args:
        work: a function that can be imported.
        n: the number of processes.
        args: what is sent to each.

    Returns:
        What ``work`` returned in rank 0.

    Raises:
        BaseException: what the first process to fail raised there, caused by its traceback there.
        JacexpError: if one was killed. The others are ended within seconds.
        Stopped: if they stopped on request.
    """
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with worker_pool(n, blocked=(*SIGNALS, STOP), orphaned=end_at_once) as pool:
        ranks = [Rank(number, n, meeting.port) for number in range(n)]
        tasks = [pool.schedule(_member, (work, rank, args)) for rank in ranks]
        failures = _watch(tasks)
        kill_workers()  # one that waits for another would not end by itself
    if not failures:
        return pickle.loads(tasks[0].result())
    error = failures[0]
    raise Stopped(str(error)) if isinstance(error, Stopped) else error


def _watch(tasks: Sequence["Future[bytes]"]) -> list[BaseException]:
    """Wait until all are over, or one has failed and the others had time to follow.

    Returns:
        Why they failed: deaths, whose consequences the others' failures are, before errors, and those as they came.
    """
    left, deaths, errors = list(tasks), list[BaseException](), list[BaseException]()
    is_asked, until = False, float("inf")
    while left and time.monotonic() < until:
        if stop_requested() and not is_asked:
            is_asked = True
            ask_to_stop(STOP)
        patience = min(POLL_S, max(0.0, until - time.monotonic()))
        for task in wait(left, timeout=patience, return_when=FIRST_COMPLETED).done:
            left.remove(task)
            error = task.exception()
            if isinstance(error, ProcessExpired | BrokenProcessPool):
                deaths.append(_death(tasks.index(task), error))
            elif error:
                errors.append(error)
        if until == float("inf") and (deaths or errors):
            until = time.monotonic() + GRACE_S
    return deaths + errors


def _death(number: int, error: ProcessExpired | BrokenProcessPool) -> JacexpError:
    code = getattr(error, "exitcode", None) or 0
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}, as happens when memory is short"
    return JacexpError(
        f"the process of device {number} {how}; what was saved is kept, and the same command goes on"
    )


def _member(work: Callable[..., Any], rank: Rank, args: Sequence[Any]) -> bytes:
    signal.signal(
        STOP, lambda *_: None
    )  # a request that comes when the work is done must not end the process
    try:
        with stop_signals(STOP):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [STOP])
            return pickle.dumps(work(rank, *args))  # whole: a pipe leaves tensors here to be fetched
    except BaseException as error:
        raise _portable(error) from error
    finally:
        sys.stdout.flush()  # once the parent knows, it ends this process


def _portable(error: BaseException) -> BaseException:
    """Return an error that can be pickled, and read again."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
