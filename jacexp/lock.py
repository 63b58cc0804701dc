"""The lock of a run, and how to look at it without taking it away from anybody."""

from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
"""The file in a run's directory that the process holds which trains it."""

PROBE_S = 0.2
"""How long a process that wants a lock tries, so that one that only looks, for microseconds, is never in its way."""


def is_held(path: Path) -> bool:
    """Say whether a process holds a lock; a file that a killed process left behind is held by nobody."""
    if not path.exists():
        return False
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:  # somebody else's file: what cannot be taken cannot be looked at either
        return False
    lock.release()
    return False
