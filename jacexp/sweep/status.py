"""How far a sweep is, from its files alone: the same for every launcher, and for whoever looks from outside."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from jacexp.errors import JacexpError, StoreError
from jacexp.sweep.entry import Entry
from jacexp.sweep.time_left import Pace, TimeLeft

MANIFEST = "sweep.json"
"""The file in a sweep's folder that lists its runs."""

FRESH_S = 90.0
"""A run whose ``metrics.csv`` is younger counts as running even where a lock cannot be seen, as on another machine.

Fused runs write theirs once a minute."""


@dataclass(frozen=True)
class Best:
    """The run with the highest validation accuracy so far."""

    accuracy: float
    overrides: str


@dataclass
class Status:
    """How far a sweep is."""

    total: int
    done: int = 0
    running: int = 0
    waiting: int = 0
    diverged: list[tuple[Entry, str]] = field(default_factory=list)
    failed: list[tuple[Entry, str]] = field(default_factory=list)
    best: Best | None = None
    seconds_left: float | None = None
    """None as long as no run has done an epoch since the sweep began."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to wait for."""
        return not self.running and not self.waiting

    def line(self) -> str:
        """Return it in one line."""
        counts = [f"{self.done} of {self.total} done"]
        named = {"failed": len(self.failed), "diverged": len(self.diverged)}
        counts += [f"{n} {name}" for name, n in named.items() if n]
        counts += [f"{n} {name}" for name, n in (("running", self.running), ("waiting", self.waiting)) if n]
        parts = [", ".join(counts)]
        if self.best:
            where = f" ({self.best.overrides})" if self.best.overrides else ""
            parts.append(f"best validation accuracy {self.best.accuracy:.2%}{where}")
        if not self.is_over:
            parts.append(f"time left {duration(self.seconds_left)}")
        return "; ".join(parts)


class Sweep:
    """A sweep on disk. It remembers which runs are over, so that looking again is quick."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Read the manifest of a sweep's folder.

        Args:
            folder: the sweep's.
            clock: tells the time, in seconds since 1970.

        Raises:
            StoreError: if there is none, or it is damaged.
        """
        self._folder, self._clock = folder, clock
        self._over: dict[str, tuple[dict[str, Any], Pace]] = {}
        self._read()

    def _read(self) -> None:
        path = self._folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            runs = self._folder / content["results"] / "runs"
            self.entries = [Entry.read(listed, runs) for listed in content["runs"]]
            self.began = datetime.fromisoformat(content["started"]).timestamp()
        except OSError as error:
            raise StoreError(
                f"{self._folder} holds no sweep: {path} cannot be read ({error.strerror})"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path} is damaged ({error!r}); start the sweep's command again, which trains only what is missing"
            ) from error

    def status(self, *, is_at_work: bool = True) -> Status:
        """Read every run's files and the manifest again, where the launcher notes which runs it gave up.

        Args:
            is_at_work: whether someone may be training runs whose locks cannot be seen from here.

        Returns:
            How far the sweep is.
        """
        with suppress(StoreError):  # the folder may have been deleted meanwhile
            self._read()
        status, time_left = Status(len(self.entries)), TimeLeft(self.began, self._clock())
        for entry in self.entries:
            result, pace = self._look(entry)
            if result is None:
                self._count_unfinished(entry, pace, status, time_left, is_at_work)
                continue
            time_left.add_over(pace, entry.before)
            if result["status"] == "done":
                status.done += 1
                accuracy = result["row"]["n_val_correct"] / result["row"]["n_val"]
                if status.best is None or accuracy > status.best.accuracy:
                    status.best = Best(accuracy, entry.overrides)
            elif result["status"] == "diverged":
                status.diverged.append((entry, result.get("error", "")))
            else:
                status.failed.append((entry, _last_line(result.get("error", ""))))
        status.seconds_left = time_left.seconds()
        return status

    def _look(self, entry: Entry) -> tuple[dict[str, Any] | None, Pace]:
        """Return how a run ended, or None if it is under way or still to come, and how far it came."""
        if entry.run is None:
            return _failure(entry.error), Pace()
        if entry.run.id in self._over:
            return self._over[entry.run.id]
        pace = Pace.of(entry.run.path)
        try:
            result = entry.run.result()
        except StoreError as error:
            result = _failure(error)
        if result and result["status"] in ("done", "diverged"):
            self._over[entry.run.id] = result, pace
        elif entry.held():  # also a failed one may be under way again
            return None, pace
        return result or (_failure(entry.error) if entry.error else None), pace

    def _count_unfinished(
        self, entry: Entry, pace: Pace, status: Status, time_left: TimeLeft, is_at_work: bool
    ) -> None:
        is_running = entry.held()
        if is_at_work and pace.ended is not None and not is_running:
            fresh = max(FRESH_S, 2 * (pace.seconds_an_epoch() or 0.0))
            is_running = self._clock() - pace.ended < fresh
        status.running += is_running
        status.waiting += not is_running
        time_left.add(pace, entry.before, entry.epochs, is_running=is_running)


def manifest(folder: Path, results: Path, entries: Sequence[Entry], **about: str) -> dict[str, Any]:
    """Make the content of a sweep's manifest, ready for JSON.

    Args:
        folder: the sweep's folder.
        results: where its runs lie; kept relative to the folder, so that both can be moved.
        entries: the jobs in order.
        about: what else is worth keeping, for example the command.

    Returns:
        The content.
    """
    listed = [entry.listed() for entry in entries]
    return {**about, "results": os.path.relpath(results, folder), "runs": listed}


def newest_sweep(results: Path) -> Path:
    """Find the folder of the sweep that was started last below a results folder.

    Returns:
        The folder.

    Raises:
        StoreError: if there is none.
    """
    found = sorted((results / "sweeps").glob(f"*/{MANIFEST}"), key=lambda path: path.parent.name)
    if not found:
        raise StoreError(f"no sweep in {results / 'sweeps'}; name its folder, or give --results DIR")
    return found[-1].parent


def duration(seconds: float | None) -> str:
    """Write a time as a person would: ``?``, ``40 s``, ``12 min``, ``3 h 20 min`` or ``2 d 5 h``."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def troubles(status: Status) -> Iterator[str]:
    """Yield a line for each run that diverged or failed, with its reason."""
    for word, runs in (("failed", status.failed), ("diverged", status.diverged)):
        for entry, reason in runs:
            yield f"{word:<8}  {entry.run.id if entry.run else '-':<12}  {entry.overrides or '-'}: {reason}"


def _failure(error: JacexpError | None) -> dict[str, Any]:
    return {"status": "failed", "row": {}, "error": str(error or "")}


def _last_line(text: str) -> str:
    """The last line of a traceback says what went wrong."""
    lines: Sequence[str] = text.strip().splitlines()
    return lines[-1] if lines else ""


def differing(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Return of each job's overrides those that not all jobs have, in one text."""
    common = set(overrides[0]).intersection(*overrides[1:]) if len(overrides) > 1 else set()
    return [" ".join(word for word in words if word not in common) for words in overrides]
