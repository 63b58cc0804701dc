"""Run directories, without torch, so that reports and sweeps read them as training does.

A run is a directory named by the hash of its scientific configuration. ``result.json`` is written last and
atomically: it is there if and only if the run is over.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jacexp.errors import RunLockedError, StoreError
from jacexp.store.tables import MEASURED, RUNS, Kind

LOCK = ".lock"
"""The file in a run's directory that the process holds which trains it."""

PROBE_S = 0.2
"""How long a process that wants a lock tries, so that one that only looks, for microseconds, is never in its way."""


def run_id(science: Mapping[str, Any]) -> str:
    """Name a run by its scientific configuration: the first 12 hex digits of SHA-256 over its canonical JSON."""
    canonical = json.dumps(science, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class RunDirectory:
    """The files of one run.

    ``config.yaml``, ``metrics.csv`` (a row an epoch), ``last.ckpt`` and ``best.ckpt`` (networks), ``resume.ckpt``
    (what an interrupted run goes on from) and ``result.json``.
    """

    def __init__(self, path: Path) -> None:
        """Name a directory, which need not exist yet."""
        self.path = path

    @property
    def results(self) -> Path:
        """The folder of results that it lies in."""
        return self.path.parents[1]

    @property
    def id(self) -> str:
        """The name of the run."""
        return self.path.name

    def __truediv__(self, name: str) -> Path:
        """Return the path of one of the run's files."""
        return self.path / name

    def result(self) -> dict[str, Any] | None:
        """Read how the run ended.

        Returns:
            ``status``, ``row`` (the columns of ``runs.csv``), ``dataset`` (its name and path), and ``error`` if there
            was one; None if the run is not over.

        Raises:
            StoreError: if the file is damaged, another run's or another version's.
        """
        path = self / "result.json"
        try:
            content = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete it to run {self.id} again") from error
        wrong = _what_is_wrong(content, self.id)
        if wrong:
            raise StoreError(f"{path} {wrong}; delete it to run {self.id} again")
        return content

    def over(self) -> dict[str, Any] | None:
        """Read how the run ended, as `result` does; None also for one that failed, for that is tried again."""
        result = self.result()
        return None if result is None or result["status"] == "failed" else result

    def held(self) -> bool:
        """Return whether a process owns the run."""
        return is_held(self / LOCK)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run inside; a lock goes with the process that held it, however that ended.

        Raises:
            RunLockedError: if another process owns it.
            StoreError: if the directory cannot be written.
        """
        lock = FileLock(self / LOCK, timeout=PROBE_S, poll_interval=PROBE_S / 10)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise RunLockedError(f"run {self.id} is being trained by another process") from error
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written ({error}); choose another folder with paths.results=DIR"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def tidy(self) -> None:
        """Remove what only a run that is not over needs, and what killed processes left half written."""
        for path in (self / "resume.ckpt", *self.path.glob(".*.partial")):
            path.unlink(missing_ok=True)


def _what_is_wrong(content: Any, run: str) -> str | None:
    """Return why this cannot be the content of a run's ``result.json``; None if it can."""
    try:
        status, row, name = content["status"], content["row"], content["dataset"]["name"]
        owner, known = row["run"], row.keys() & RUNS.keys()
        complete = isinstance(name, str) and status == row["status"]
    except (KeyError, TypeError, AttributeError):
        complete = False
    if not complete or status not in ("done", "diverged", "failed"):
        return "is no result of jacexp's"
    if owner != run:
        return f"is of run {owner}"
    needed = RUNS.keys() if status == "done" else RUNS.keys() - MEASURED
    if odd := [*(row.keys() - known), *(needed - known)]:
        return f"was written by another version of jacexp, for the column {min(odd)} is foreign or missing"
    odd = [c for c in known if not _fits(row[c], RUNS[c])]
    if status == "done":
        odd += [c for c in MEASURED if row[c] is None] + [c for c in ("n_val", "n_test") if row[c] == 0]
    return f"is damaged, for {min(odd)} is {row[min(odd)]!r}" if odd else None


def _fits(value: object, kind: Kind) -> bool:
    if kind == "key":
        return isinstance(value, str) and value != ""
    types = {"text": str, "count": int, "number": int | float}
    return value is None or isinstance(value, types[kind])


def write_atomically(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file whole or not at all, also when the power fails or the disk is full."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def finished_runs(results: Path) -> Iterator[tuple[RunDirectory, dict[str, Any]]]:
    """Iterate over the runs of a results folder that are over, in the order of their names.

    Yields:
        Each run and the content of its ``result.json``, but for those that cannot be read: `merge_runs` names them.
    """
    for directory in run_directories(results):
        result = None
        with suppress(StoreError):
            result = directory.result()
        if result:
            yield directory, result


def in_words(result: Mapping[str, Any]) -> str:
    """Write in a few words how a run ended, of the content of its ``result.json``."""
    row = result["row"]
    if result["status"] == "diverged":
        return f"diverged in epoch {row['epoch'] + 1}"
    val, test = row["n_val_correct"] / row["n_val"], row["n_test_correct"] / row["n_test"]
    return (
        f"done: validation accuracy {val:.2%} of {row['n_val']}, test accuracy {test:.2%} of {row['n_test']}"
    )


def run_directories(results: Path) -> Iterator[RunDirectory]:
    """Iterate over the run directories below a results folder, in the order of their names."""
    folder = results / "runs"
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        paths = sorted(entry.path for entry in entries if entry.is_dir())
    yield from (RunDirectory(Path(path)) for path in paths)


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock; a file that a killed process left behind is held by nobody."""
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
