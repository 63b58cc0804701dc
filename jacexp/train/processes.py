"""One piece of work in several processes at once: they end together, well or not, and none outlives the parent."""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # not there in every build of torch

from jacexp.errors import JacexpError
from jacexp.train.stop import SIGNALS, Stopped, blocked_signals, request_stop, stop_requested

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


class _Failure(NamedTuple):
    error: BaseException
    moment: float


class _Member:
    """A process as its parent sees it."""

    def __init__(self, work: Callable[..., Any], rank: Rank, args: Sequence[Any]) -> None:
        context = get_context("spawn")  # a GPU cannot be used after a fork
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_member, args=(theirs, Path.cwd(), work, rank, *args), name=f"rank {rank.number}"
        )
        self.rank, self.is_over = rank, False
        self.result: Any = None
        self.failure: _Failure | None = None
        self.process.start()
        theirs.close()

    def look(self) -> None:
        """Receive its result if it is there, or notice that it died without one."""
        if self.is_over or not wait([self.connection, self.process.sentinel], timeout=0):
            return
        try:
            self.result, self.failure = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.process.join()
            self.failure = _Failure(self._death(), 0.0)  # the others' failures are its consequences
        self.is_over = True

    def _death(self) -> JacexpError:
        code = self.process.exitcode or 0
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}, as happens when memory is short"
        return JacexpError(
            f"the process of device {self.rank.number} {how}; what was saved is kept, and the same command goes on"
        )

    def ask_to_stop(self) -> None:
        """Ask it to end after its present step."""
        with suppress(OSError):  # it is gone
            self.connection.send("stop")

    def end(self) -> None:
        """End it at once, if it is still there."""
        self.process.kill()
        self.process.join()
        self.connection.close()


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
        BaseException: what the first process to fail raised there, with its traceback as a note.
        JacexpError: if one was killed. The others are ended within seconds.
        Stopped: if they stopped on request.
    """
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    members: list[_Member] = []
    try:
        with blocked_signals(*SIGNALS):
            for number in range(n):
                members.append(_Member(work, Rank(number, n, meeting.port), args))  # noqa: PERF401
        failures = _watch(members)
    finally:
        for member in members:
            member.end()
    if not failures:
        return members[0].result
    error = min(failures, key=lambda failure: failure.moment).error
    raise Stopped(str(error)) if isinstance(error, Stopped) else error


def _watch(members: Sequence[_Member]) -> list[_Failure]:
    """Wait until all are over, or one has failed and the others had time to follow."""
    is_asked, deadline = False, float("inf")
    while not all(member.is_over for member in members) and time.monotonic() < deadline:
        left = [member for member in members if not member.is_over]
        wait([handle for m in left for handle in (m.connection, m.process.sentinel)], timeout=POLL_S)
        for member in left:
            member.look()
        if deadline == float("inf") and any(member.failure for member in members):
            deadline = time.monotonic() + GRACE_S
        if stop_requested() and not is_asked:
            is_asked = True
            for member in members:
                member.ask_to_stop()
    return [member.failure for member in members if member.failure]


def _member(connection: Connection, folder: Path, work: Callable[..., Any], rank: Rank, *args: Any) -> None:
    threading.Thread(target=_listen, args=(connection,), daemon=True).start()
    result, failure = None, None
    try:
        with chdir(folder):
            result = work(rank, *args)
    except BaseException as error:
        failure = _Failure(_portable(error, rank), time.monotonic())
    sys.stdout.flush()  # once the parent knows, it may end this process
    connection.send_bytes(pickle.dumps((result, failure)))  # whole: `send` leaves tensors here to be fetched


def _listen(connection: Connection) -> None:
    """Pass requests to stop on; exit once the parent is gone: without its lock nothing more may be written."""
    try:
        while connection.recv():
            request_stop()
    except (EOFError, OSError):
        os._exit(1)


def _portable(error: BaseException, rank: Rank) -> BaseException:
    """Convert an error to one that can be pickled, with its traceback as a note."""
    note = f"in the process of device {rank.number}:\n{''.join(traceback.format_exception(error))}"
    try:
        error = pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(note)
    return error
