"""One piece of work in several processes at once: they end together, well or not, and none outlives the parent."""

import pickle
import signal
import time
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, NamedTuple

from pebble import ProcessExpired
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # not there in every build of torch

from jacexp.errors import JacexpError
from jacexp.train.stop import Stopped, stop_requested, stop_signals
from jacexp.train.workers import ask_to_stop, end_at_once, worker_pool

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


def run_together(work: Callable[..., Any], n: int, *args: Any) -> Any:
    """Call ``work(rank, *args)`` in n new processes and return what the first one returns.

    A request to stop is passed on to them; a terminal's Ctrl-C does not reach them.

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
    failures: list[BaseException] = []
    with worker_pool(n, orphaned=end_at_once) as pool:
        ranks = [Rank(number, n, meeting.port) for number in range(n)]
        tasks: dict[Future[Any], Rank] = {
            pool.schedule(_work, args=(work, rank, args)): rank for rank in ranks
        }
        waiting, deadline, is_asked = set(tasks), float("inf"), False
        while waiting and time.monotonic() < deadline:
            ended, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
            failures += [_failure(e, tasks[task]) for task in ended if (e := task.exception())]
            if failures and deadline == float("inf"):
                deadline = time.monotonic() + GRACE_S
            if stop_requested() and not is_asked:  # once: the next signal would end those that have saved
                is_asked = True
                ask_to_stop()
    if not failures:
        return next(iter(tasks)).result()
    # A process that died is the reason why the others fail, whoever is heard first; one that had only begun is none.
    deaths = [error for error in failures if isinstance(error, _Death)]
    reasons = [error for error in failures if not isinstance(error, _Unbegun)]
    raise (deaths or reasons or failures)[0]


class _Death(JacexpError):
    pass


class _Unbegun(Stopped):
    pass


def _failure(error: BaseException, rank: Rank) -> BaseException:
    if stop_requested() and isinstance(error, ProcessExpired | Stopped):
        # With this program's own signal; a process that was only beginning died of it.
        saved = isinstance(error, Stopped)
        return Stopped(str(error)) if saved else _Unbegun("the training had not begun")
    if not isinstance(error, ProcessExpired):
        return error
    code = int(error.exitcode or 0)
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}, as happens when memory is short"
    return _Death(
        f"the process of device {rank.number} {how}; what was saved is kept, and the same command goes on"
    )


def _work(work: Callable[..., Any], rank: Rank, args: tuple[Any, ...]) -> Any:
    try:
        with stop_signals():
            return work(rank, *args)
    except BaseException as error:
        raise _portable(error, rank) from None


def _portable(error: BaseException, rank: Rank) -> BaseException:
    """Return an error in a form that can be sent, with its traceback."""
    note = f"in the process of device {rank.number}:\n{''.join(traceback.format_exception(error))}"
    try:
        error = pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(note)
    return error
