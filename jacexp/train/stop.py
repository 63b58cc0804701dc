"""Ending on request: a signal sets a flag, and whoever trains saves at the end of its step and then stops."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What asks to stop: the end of a cluster's job, and Ctrl-C."""

_received: int | None = None
_is_watching = False


class Stopped(SystemExit):
    """The program was asked to end and has saved what it was doing; the same command goes on.

    It leaves the program with the status of a process that the signal ended (143 for SIGTERM, 130 for Ctrl-C). It is
    no ``Exception``, so that nothing takes it for the failure of one run and goes on with the next.
    """

    def __init__(self, message: str, signum: int | None = None) -> None:
        """Stop with one line about what was saved.

        Args:
            message: the line.
            signum: the signal that asked; None stands for the one that `stop_signals` received.
        """
        signum = signum or _received or signal.SIGTERM
        super().__init__(message, int(signum))
        self.code = 128 + signum

    def __str__(self) -> str:
        """Return the line."""
        return str(self.args[0])


@contextmanager
def stop_signals(*signals: signal.Signals) -> Iterator[None]:
    """Treat SIGTERM and Ctrl-C, or other signals, inside as a request to save and stop; a second Ctrl-C aborts.

    Signals that the process ignores stay ignored. Only the main thread can do this, and only the outermost of nested
    uses does; elsewhere it does nothing.
    """
    global _is_watching, _received
    if _is_watching or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.getsignal(s) for s in signals or SIGNALS}
    watched = [s for s in before if before[s] is not signal.SIG_IGN]
    try:
        _is_watching = True
        for signum in watched:
            signal.signal(signum, _note)
        yield
    finally:
        for signum in watched:
            signal.signal(signum, before[signum] or signal.SIG_DFL)
        _is_watching, _received = False, None


def stop_requested() -> bool:
    """Return whether a signal has asked to save and stop."""
    return _received is not None


def end_if_requested(saved: str = "what is trained is saved") -> None:
    """End the program with the line that says what was saved, if a signal has asked for it.

    Raises:
        Stopped: if so.
    """
    if stop_requested():
        raise Stopped(f"{saved}; the same command goes on")


def rest(seconds: float, saved: str = "what is trained is saved") -> None:
    """Wait for a while, and end the program as `end_if_requested` does, soon after a signal asks for it.

    Raises:
        Stopped: if so.
    """
    until = time.monotonic() + seconds
    while True:
        end_if_requested(saved)
        if time.monotonic() >= until:
            return
        time.sleep(0.1)


@contextmanager
def blocked_signals(*signals: signal.Signals) -> Iterator[None]:
    """Block signals in this thread; children started inside inherit that, and this process gets them afterwards."""
    resource_tracker.ensure_running()  # it would otherwise be started inside, and unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature of a handler
    global _received
    if signum == signal.SIGINT:
        if stop_requested():
            raise Stopped("aborted; what was saved before is kept", signum)
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nsaving after this step; press Ctrl-C again to abort at once\n")
    _received = signum
