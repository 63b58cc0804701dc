"""Processes of this machine that work for this one, by pebble: one that is killed fails its own task alone."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any

from pebble import ProcessPool

from jacexp.train.stop import blocked_signals

AGAIN_S = 1.0
"""Seconds between two requests to stop: a process that is only beginning misses the first."""


def save_and_end() -> None:
    """End this process, whose parent died: the first SIGTERM saves what is trained, the next one ends it."""
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(AGAIN_S)


def end_at_once() -> None:
    """End this process, whose parent died, and with it the lock without which nothing more may be written."""
    os._exit(1)


@contextmanager
def worker_pool(
    n: int,
    *,
    devices: Sequence[str] = (),
    blocked: Sequence[signal.Signals] = (signal.SIGINT,),
    orphaned: Callable[[], None] = save_and_end,
) -> Iterator[ProcessPool]:
    """Start processes, and end them on leaving, whatever they do then.

    What is blocked never reaches them, not even in the seconds in which they import: a terminal's Ctrl-C at least.

    Args:
        n: the number of processes.
        devices: values of CUDA_VISIBLE_DEVICES, dealt out to the processes in turn; empty to leave it as it is. A
            process that takes the place of a dead one has the dead one's.
        blocked: signals that they are not to get.
        orphaned: what each does once this one is gone.

    Yields:
        The pool.
    """
    context: Any = get_context("spawn")  # a GPU cannot be used after a fork
    seats = context.Array("l", n)  # the ids of the processes
    given = (str(Path.cwd()), devices, seats, orphaned)
    pool = ProcessPool(n, context=context, initializer=_begin, initargs=given)
    try:
        with blocked_signals(*blocked):  # the processes and the threads that start them inherit it
            pool.schedule(int)
        yield pool
    finally:
        pool.stop()
        pool.join()


def stop_workers(tasks: Sequence["Future[Any]"]) -> None:
    """Ask all workers to save and stop, and wait until the tasks that they are at have ended."""
    for task in tasks:
        if not task.running():
            task.cancel()
    ask_to_stop()
    while wait(tasks, timeout=AGAIN_S).not_done:
        ask_to_stop()


def ask_to_stop(signum: signal.Signals = signal.SIGTERM) -> None:
    """Send what they take for a request to stop to all workers."""
    for process in active_children():
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, signum)


def kill_workers() -> None:
    """Send SIGKILL to all workers."""
    for process in active_children():
        process.kill()


def _begin(folder: str, devices: Sequence[str], seats: Any, orphaned: Callable[[], None]) -> None:
    os.chdir(folder)
    if devices:  # before anything asks for a GPU
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[take_seat(seats) % len(devices)]
    threading.Thread(target=_watch_parent, args=(orphaned,), daemon=True).start()


def take_seat(seats: Any) -> int:
    """Claim the first seat of a shared array that no living process has.

    Args:
        seats: a `multiprocessing.Array` of process ids, 0 where nobody ever sat.

    Returns:
        Its number.
    """
    with seats.get_lock():
        free = (number for number, pid in enumerate(seats) if not pid or not _is_alive(pid))
        number = next(free, os.getpid() % len(seats))
        seats[number] = os.getpid()
        return number


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _watch_parent(orphaned: Callable[[], None]) -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    orphaned()
