"""Processes of this machine that work for this one, by pebble: one that is killed fails its own task alone."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any

from pebble import ProcessPool

from jacexp.train.stop import blocked_signals

AGAIN_S = 1.0
"""Seconds between two requests to stop: a process that is only beginning misses the first."""


@contextmanager
def worker_pool(n: int, devices: Sequence[str] = ()) -> Iterator[ProcessPool]:
    """Start processes, and end them on leaving, whatever they do then.

    A terminal's Ctrl-C never reaches them, not even in the seconds in which they import.

    Args:
        n: the number of processes.
        devices: values of CUDA_VISIBLE_DEVICES, dealt out to the processes in turn; empty to leave it as it is. A
            process that takes the place of a dead one has the dead one's.

    Yields:
        The pool.
    """
    context: Any = get_context("spawn")  # a GPU cannot be used after a fork
    seats = context.Array("l", n)  # the ids of the processes
    pool = ProcessPool(n, context=context, initializer=_begin, initargs=(str(Path.cwd()), devices, seats))
    try:
        with blocked_signals(signal.SIGINT):  # the processes and the threads that start them inherit it
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


def ask_to_stop() -> None:
    """Send SIGTERM to all workers."""
    for process in active_children():
        process.terminate()


def save_and_end() -> None:
    """End this process, whose parent died: the first SIGTERM saves what is trained, the next one ends it."""
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(AGAIN_S)


def _begin(folder: str, devices: Sequence[str], seats: Any) -> None:
    os.chdir(folder)
    if devices:  # before anything asks for a GPU
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[take_seat(seats) % len(devices)]
    threading.Thread(target=_watch_parent, daemon=True).start()


def take_seat(seats: Any) -> int:
    """Take the first seat of a shared array that no living process has.

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


def _watch_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    save_and_end()
