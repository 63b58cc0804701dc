"""How long a sweep still takes, told from the epochs that its runs have put behind them since it began.

That is the same for runs one after another, in several processes, and fused: what counts is how many epochs all runs
together do in a second by the clock on the wall.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pace:
    """How far a run is by its files; times are seconds since 1970."""

    n_epochs: int = 0
    began: float | None = None
    """When it was last begun or taken up again."""
    ended: float | None = None
    """When its last epoch was written down."""

    @classmethod
    def of(cls, folder: Path) -> "Pace":
        """Read the files of a run's folder, which need not be there."""
        try:
            with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
                n = sum(1 for _ in csv.DictReader(file))
                ended = os.fstat(file.fileno()).st_mtime
            return cls(n, (folder / "config.yaml").stat().st_mtime, ended)
        except (OSError, ValueError, csv.Error):  # not there, or damaged
            return cls()

    def seconds_an_epoch(self, before: int = 0, since: float = 0.0) -> float | None:
        """Return the seconds an epoch, of those after the first so many and after a time; None if there are none."""
        if self.began is None or self.ended is None or self.n_epochs <= before:
            return None
        return max(0.0, self.ended - max(self.began, since)) / (self.n_epochs - before)


class TimeLeft:
    """Gathers how far the runs of a sweep are, and estimates the time left."""

    def __init__(self, began: float | None, now: float) -> None:
        """Begin with when the sweep did (None where that is not known) and the present time, in seconds since 1970."""
        self._began, self._now = began, now
        self._done = self._left = 0
        self._last = 0.0
        self._slowest: float | None = None

    def add_over(self, pace: Pace, before: int) -> None:
        """Add a run that needs no more time, and had so many epochs behind it when the sweep began."""
        if pace.ended is not None and pace.n_epochs > before:
            self._done += pace.n_epochs - before
            self._last = max(self._last, pace.ended)

    def add(self, pace: Pace, before: int, epochs: int, *, is_running: bool) -> None:
        """Add a run that is to have so many epochs, which somebody trains or is still to train."""
        self.add_over(pace, before)
        left = max(0, epochs - pace.n_epochs)
        self._left += left
        if is_running:
            own = pace.seconds_an_epoch(before, self._began or 0.0)
            since = self._now - (pace.ended or self._now)
            self._slowest = max(self._slowest or 0.0, left * own - since if own else 0.0)

    def seconds(self) -> float | None:
        """Estimate the time left.

        All runs go on together as fast as they have so far; but the slowest run under way takes what it takes. Where
        nobody is at work, it is the time that the same command would take.

        Returns:
            Seconds; None as long as no run has done an epoch since the sweep began.
        """
        if self._began is None or not self._done or self._last <= self._began:
            return None
        expected = self._left * (self._last - self._began) / self._done
        if self._slowest is None:
            return expected
        expected -= self._now - self._last
        if expected <= 0 < self._left:  # later than expected, so slower
            expected = self._left * (self._now - self._began) / self._done
        return max(expected, self._slowest)
